import { ActivityCancellationType, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { Timing } from '../api/messages.ts';
import type { Activities } from '../activities/index.ts';

/** Errors that no repetition mends: the workflow decides what becomes of the node. */
const FINAL_ERRORS = ['Forbidden', 'Invalid', 'WrongCluster', 'NamespaceNotEnabled'];

const retry = (timing: Timing) => ({
  initialInterval: timing.retryInitialMs,
  maximumInterval: timing.retryMaximumMs,
  nonRetryableErrorTypes: FINAL_ERRORS,
});

/**
 * The activities as a workflow calls them. None has a schedule-to-close deadline: the API server may be what is
 * rebooting, so calls are repeated until they succeed, and waits end by their own deadlines. `summary` is what a
 * person sees beside them in the Temporal UI.
 */
export function activitiesFor(timing: Timing, summary?: string) {
  const shown = summary === undefined ? {} : { summary };
  return {
    /** Answered by the worker's own view of the cluster: short, no effects, no history beyond a marker. */
    ask: proxyLocalActivities<Activities>({ startToCloseTimeout: timing.callMs, retry: retry(timing) }),
    /** Short calls with an effect. */
    call: proxyActivities<Activities>({
      ...shown,
      startToCloseTimeout: timing.callMs,
      retry: retry(timing),
    }),
    /** Waits that heartbeat; a cancel is answered only when the attempt has really stopped. */
    wait: proxyActivities<Activities>({
      ...shown,
      startToCloseTimeout: timing.waitAttemptMs,
      heartbeatTimeout: timing.heartbeatMs,
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      retry: retry(timing),
    }),
  };
}
