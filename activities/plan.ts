import { ApplicationFailure } from '@temporalio/common';
import type { PlanContext, RolloutContext } from '../api/messages.ts';
import type { Plan } from '../api/plan-messages.ts';
import { mayI, whoAmI } from '../kube/access-review.ts';
import { resolveBudget } from '../policy/budget.ts';
import { withCanaryWorkerFirst } from '../policy/canary-worker.ts';
import { drainOf } from '../policy/drain.ts';
import { orderNodes } from '../policy/order.ts';
import { quorumWarning } from '../policy/quorum.ts';
import { composeWaves, rolloutFailures } from '../policy/waves.ts';
import { windowMistake } from '../policy/windows.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';
import { readDatastore } from './control-plane.ts';
import { IdleAgents } from './idle-agents.ts';
import { reportPlan } from './plan-report.ts';
import { selectNodes, turnOf } from './selection.ts';
import { DeadlinePassed, waitInActivity } from './waiting.ts';

/** How long a plan waits for the agents of Ready nodes: right after an install they have not reported yet. */
const AGENTS_REPORT_WITHIN_MS = 60_000;

/** How often the agents of silent nodes are looked at meanwhile. */
const LOOK_EVERY_MS = 2_000;
const NOT_KAIROS = 'NotKairos: its agent has found nothing to report';
const NO_REPORT = 'NoReport: it does not run Kairos, or its agent has not reported';

/**
 * Which nodes the rollout upgrades, in which order and in which waves. Taken once: nodes that join later are looked for
 * at the end, where the strategy wants them. Waits until
 * the agent of every selected Ready node has reported from the present boot, or has shown that the node does not run
 * Kairos; nodes that stay silent are named.
 * @throws ApplicationFailure `MayNotDeletePods`, `WrongStrategy` and `WrongWindow`, not retried
 */
export async function planRollout(view: ClusterView, context: PlanContext): Promise<Plan> {
  assertCluster(view, context.cluster);
  assertAccepted(context);
  assertWindows(context);
  await assertMayDelete(view, context);
  const idle = new IdleAgents(view);
  const silent = () =>
    selectNodes(view, context.spec).filter(
      (node) => node.ready && !idle.has(node) && view.kairosNodes.get(node.name)?.status.bootID !== node.bootID,
    );
  const allHaveReported = () => (silent().length === 0 ? true : undefined);
  try {
    await waitInActivity(AGENTS_REPORT_WITHIN_MS, async (signal) => {
      while (allHaveReported() === undefined) {
        const soon = AbortSignal.any([signal, AbortSignal.timeout(LOOK_EVERY_MS)]);
        await view.kairosNodes.waitFor(undefined, allHaveReported, soon).catch(() => signal.throwIfAborted());
        await idle.look(silent(), signal);
      }
    });
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
  }
  const all = selectNodes(view, context.spec);
  const known = all.filter((node) => view.kairosNodes.get(node.name) !== undefined);
  const { controlPlane, workers } = orderNodes(known.map((node) => ({ ...node, ...turnOf(view, node) })));
  const maxFailed = rolloutFailures(context.spec, { controlPlane, workers });
  const datastore = readDatastore(view);
  const warning = controlPlane.length > 0 || datastore.kind === 'NotVisible' ? quorumWarning(datastore) : undefined;
  const waves = composeWaves({ controlPlane, workers }, context.spec);
  // The waves have all of them. Twice they would not fit into one answer at 10,000 nodes, which Temporal limits to 2 MB.
  const plan: Plan = {
    controlPlane: [],
    workers: [],
    leftAlone: all
      .filter((node) => !known.includes(node))
      .map((node) => ({ name: node.name, reason: idle.has(node) ? NOT_KAIROS : NO_REPORT })),
    maxUnavailable: resolveBudget(context.spec.maxUnavailable, workers.length),
    waves: context.spec.canaryWorkerFirst === true ? withCanaryWorkerFirst(waves) : waves,
    ...(maxFailed === undefined ? {} : { maxFailed }),
    ...(warning !== undefined && { warning }),
  };
  const report = await waitInActivity(undefined, (signal) => reportPlan(view, context, plan, signal));
  // Its waves name the nodes: twice would be too much for one message where there are ten thousand.
  return { ...plan, controlPlane: [], workers: [], report };
}

/** A drain that is to delete pods needs a right that the worker has only where it was given: asked before any node is touched. */
async function assertMayDelete(view: ClusterView, { spec }: RolloutContext): Promise<void> {
  const { onTimeout } = drainOf(spec).drain;
  if (onTimeout !== 'Delete' && onTimeout !== 'DeleteUnhealthy') return;
  if (await mayI(view.client, { verb: 'delete', group: '', resource: 'pods' })) return;
  throw ApplicationFailure.nonRetryable(
    `strategy.drain.onTimeout: ${onTimeout} deletes pods in every namespace, and ${await whoAmI(view.client)} may not: set worker.mayDeletePods=true in the values of the chart, or apply deploy/options/worker-may-delete-pods.yaml, then set kairos.io/retry; or choose onTimeout: Fail or Skip. No node was touched`,
    'MayNotDeletePods',
  );
}

/** What the watcher found wrong when it started the rollout: it is told by the rollout's end. */
function assertAccepted({ spec }: RolloutContext): void {
  if (spec.refused !== undefined)
    throw ApplicationFailure.nonRetryable(`${spec.refused}. No node was touched`, 'WrongStrategy');
}

/** What the API server cannot see of a window: asked before anything is pulled or touched. */
function assertWindows({ spec }: RolloutContext): void {
  const mistake = windowMistake(spec.windows ?? [], Date.now());
  if (mistake !== undefined) throw ApplicationFailure.nonRetryable(`${mistake}. No node was touched`, 'WrongWindow');
}
