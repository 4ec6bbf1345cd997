import { ApplicationFailure } from '@temporalio/common';
import { CancellationScope, setCurrentDetails, setHandler, workflowInfo } from '@temporalio/workflow';
import type { PlanAnswer, PlanInput, RolloutContext } from '../api/messages.ts';
import type { PlanReport } from '../api/plan-messages.ts';
import { planMarkdown, planSummary } from '../policy/plan-text.ts';
import { activitiesFor } from './activity-proxies.ts';
import { planQuery } from './messages.ts';

/**
 * Makes a plan because a person asked for it, as a dry run would, pull included: of what would be done now, whatever the
 * rollout of the same resource does meanwhile. It touches no node and tells the rollout nothing; what it found is in
 * `status.plan`, and answered. One that cannot be had fails, and its failure says why.
 */
export async function plan({ cluster, request, spec, timing, asked }: PlanInput): Promise<PlanAnswer> {
  const context: RolloutContext = { cluster, rolloutID: workflowInfo().workflowId, request, spec };
  const { call, wait } = activitiesFor(timing);
  let report: PlanReport | undefined;
  const description = 'The plan: order, waves, versions, risks, duration. null before it was made.';
  setHandler(planQuery, () => report ?? null, { description });
  try {
    ({ report } = await wait.planRollout({ ...context, asked }));
  } finally {
    await CancellationScope.nonCancellable(() => call.removePulls(context));
  }
  if (report === undefined) {
    const words = 'a worker of an earlier version has planned, and says nothing of it: ask again when it is upgraded';
    throw ApplicationFailure.nonRetryable(words, 'NoReport');
  }
  setCurrentDetails(planMarkdown(report));
  return { message: `status.plan is of ${report.plannedAt}: ${planSummary(report)}` };
}
