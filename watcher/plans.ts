import { type PlanInput, planWorkflowID } from '../api/messages.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { rolloutId } from '../kube/names.ts';
import { LONGEST_REQUEST, openPlanRequest, plansNow, type OpenPlanRequest } from '../policy/requests.ts';
import { timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';
import { mustMayStart } from './may-start.ts';
import { noteAnswer, valueID } from './requests.ts';
import { specOf } from './spec.ts';
import { readLive } from './upgrades.ts';

/** After so long it is worth a word that a plan has not been made. */
const LONG_MS = 30_000;

/** Whether a person asks for a plan of this resource, and it can be made now. Asks nobody. */
export const wantsPlan = (resource: NodeOpUpgrade): boolean =>
  openPlanRequest(resource) !== undefined && plansNow(resource);

/**
 * Has the plan made that a person asks for by annotation, in a workflow of its own beside the rollout, and writes its
 * answer into `status.requests`. Which request a workflow is for is in its memo: a second watcher, or a repetition, starts
 * it once, and one that has closed answers. A plan that nobody waits for any more is cancelled. `again` is called when the
 * workflow has closed.
 */
export async function answerPlanRequest(context: WatcherContext, key: string, again: () => void): Promise<void> {
  const { engine, cluster, closings, log } = context;
  const [namespace = '', name = ''] = key.split('/');
  const workflowID = planWorkflowID(rolloutId(cluster.id, namespace, name));
  const { resource } = await readLive(context, namespace, name);
  if (resource === undefined || resource.metadata.deletionTimestamp !== undefined) return engine.cancel(workflowID);
  const request = openPlanRequest(resource);
  if (request === undefined || !plansNow(resource)) return;
  const asked = idOf(resource, request);
  const described = await engine.describe(workflowID);
  const isForIt = described.state !== 'NotFound' && described.memo?.asked === asked;
  if (described.state === 'Open') {
    closings.watch(workflowID, again);
    if (!isForIt) await engine.cancel(workflowID);
    else if (Date.now() - (described.startedAtMs ?? 0) > LONG_MS)
      await noteAnswer(context, resource, request, 'NotAnswered');
  } else if (isForIt) {
    const answer = await engine.planAnswer(workflowID);
    log.info({ workflow: workflowID, answer }, 'a plan that was asked for');
    await noteAnswer(context, resource, request, answer);
  } else if (request.value.length > LONGEST_REQUEST) {
    const message = `the value is longer than ${LONGEST_REQUEST} characters: write a shorter one`;
    await noteAnswer(context, resource, request, { accepted: false, message });
  } else {
    await mustMayStart(context);
    log.info({ workflow: workflowID }, 'starting the plan that is asked for');
    await engine.startPlan(workflowID, planInput(context, resource, request), `plan of ${key}`, asked);
    closings.watch(workflowID, again);
  }
}

/** Another resource of that name, another spec, or another value, is another request. */
const idOf = ({ metadata: { uid, generation } }: NodeOpUpgrade, request: OpenPlanRequest): string =>
  `${uid}/${generation}/${valueID(request)}`;

function planInput(context: WatcherContext, resource: NodeOpUpgrade, request: OpenPlanRequest): PlanInput {
  const { cluster, engine, nodes } = context;
  const { namespace = '', name, uid = '', generation = 1 } = resource.metadata;
  return {
    cluster,
    request: { kind: 'NodeOpUpgrade', namespace, name, uid, generation, attempt: request.attempt },
    spec: { ...specOf(context, resource.spec), dryRun: true },
    timing: timingFor(nodes.size, engine.searchAttributes),
    asked: request.value,
  };
}
