import { ActivityCancellationType, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import type { Timing } from '../api/messages.ts';
import type { Activities } from '../activities/index.ts';

/** Which errors no repetition mends is said by the activity with each error: the same one may have to be repeated. */
const retry = (timing: Timing) => ({
  initialInterval: timing.retryInitialMs,
  maximumInterval: timing.retryMaximumMs,
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
    ask: proxyLocalActivities<Activities>({
      startToCloseTimeout: timing.callMs,
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      retry: retry(timing),
    }),
    /** Short calls with an effect. */
    call: proxyActivities<Activities>({
      ...shown,
      startToCloseTimeout: timing.callMs,
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
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
