import { PAUSE_ANNOTATION, ROLLOUT_FIELD_MANAGER } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { rolloutId } from '../kube/names.ts';
import { patchNodeOpUpgradeStatus, readWithWriters } from '../kube/node-op-upgrades.ts';
import type { Writers } from '../kube/writers.ts';
import { decideEngine, type EngineDecision, type EngineState } from '../policy/engine.ts';
import { pastAttempt, remember } from '../policy/history.ts';
import { joinedLater } from '../policy/joined.ts';
import { askedOf, nextRetry, openRequests } from '../policy/requests.ts';
import { takesNewNodes } from '../policy/superseded.ts';
import type { WatcherContext } from './context.ts';
import { mustMayStart } from './may-start.ts';
import { carryRequests, noteBegun } from './requests.ts';
import { rolloutInput } from './rollout-input.ts';

/**
 * What follows a look at a NodeOpUpgrade. `again`: another look, also when its rollout has closed, however: what comes
 * after it can start, and an end that it could not write itself is written. `ask`: the rollout that runs is asked what
 * people want of it.
 */
interface Next {
  again: () => void;
  ask: () => void;
}

/** Brings one NodeOpUpgrade and its rollout together, by what both say now. Repeating it changes nothing. */
export async function reconcileUpgrade(context: WatcherContext, key: string, { again, ask }: Next): Promise<void> {
  const { engine, cluster, log } = context;
  const [namespace = '', name = ''] = key.split('/');
  const workflowID = rolloutId(cluster.id, namespace, name);
  const { resource, writers } = await readLive(context, namespace, name);
  const described = await engine.describe(workflowID);
  const { decision, retry } = decide(context, resource, described);
  const about = { upgrade: key, workflow: workflowID };
  // Before another attempt begins: what was asked of the one that has ended is not meant for it.
  const isOpen = described.state === 'Open';
  if (resource !== undefined && !isOpen) await carryRequests(context, resource, writers, workflowID, described);
  switch (decision.action) {
    case 'nothing':
      break;
    case 'start': {
      if (resource === undefined) return;
      await mustMayStart(context);
      log.info({ ...about, attempt: decision.attempt }, 'starting rollout');
      const input = rolloutInput(context, resource, writers, { ...decision, named: retry?.message.node });
      await engine.start(workflowID, input, `${key} → ${resource.spec.image}`);
      if (retry !== undefined) await noteBegun(context, resource, retry, decision);
      break;
    }
    case 'cancel':
      log.info({ ...about, reason: decision.reason }, 'cancelling rollout');
      await engine.cancel(workflowID, saying(decision.reason, decision.edited && writers.spec));
      break;
    case 'pause':
      log.info({ ...about, reason: decision.reason }, 'pausing rollout');
      await engine.signal(workflowID, 'pause', saying(decision.reason, writers.annotations[PAUSE_ANNOTATION]));
      break;
    case 'resume':
      log.info(about, 'resuming rollout');
      await engine.signal(workflowID, 'resume', { by: 'kubectl' });
      break;
    case 'recordEnd':
      log.warn({ ...about, phase: decision.phase }, decision.message);
      await recordEnd(context, namespace, name, resource, decision);
      // A retry may be waiting for this end.
      again();
      return;
  }
  if (isOpen || decision.action === 'start') context.closings.watch(workflowID, again);
  // After a pause, which waits for no worker; and at once of a rollout that begins.
  if (isOpen) ask();
  else if (decision.action === 'start' && waitsForIt(resource, described)) again();
}

/** Whether something is asked of the attempt that begins just now. */
const waitsForIt = (resource: NodeOpUpgrade | undefined, described: EngineState): boolean =>
  resource !== undefined && openRequests(resource).length > 0 && askedOf(resource, described) === 'Later';

/** What is to be done; `retry`: the retry of nodes for which the next attempt begins, where there is one. */
function decide(context: WatcherContext, resource: NodeOpUpgrade | undefined, described: EngineState) {
  if (resource === undefined) return { decision: decideEngine(undefined, described), retry: undefined };
  const retry = nextRetry(resource, described);
  return { decision: decideEngine(resource, described, joinedNow(context, resource), retry !== undefined), retry };
}

/**
 * Asks the rollout of a NodeOpUpgrade, where it runs, for what people want of it by annotation.
 * @throws NotYetAnswered when no worker answered: to be repeated
 */
export async function askRollout(context: WatcherContext, key: string): Promise<void> {
  const [namespace = '', name = ''] = key.split('/');
  const workflowID = rolloutId(context.cluster.id, namespace, name);
  const { resource, writers } = await readLive(context, namespace, name);
  if (resource === undefined) return;
  const described = await context.engine.describe(workflowID);
  if (described.state === 'Open') await carryRequests(context, resource, writers, workflowID, described);
}

/**
 * Writes the end of a workflow that could not write it itself, to the version of the resource that was read before the
 * workflow was looked at: an end that it has written since stays.
 */
async function recordEnd(
  { client, cluster, engine }: WatcherContext,
  namespace: string,
  name: string,
  resource: NodeOpUpgrade | undefined,
  { phase, message, attempt, retry }: Extract<EngineDecision, { action: 'recordEnd' }>,
): Promise<void> {
  const { uid = '', generation = 1, resourceVersion } = resource?.metadata ?? {};
  const known = resource?.status?.rollout;
  const isSame = known?.attempt === attempt;
  const workflowID = rolloutId(cluster.id, namespace, name);
  // A termination tells the workflow nothing, so it is asked of Temporal.
  const endedBy = (await engine.terminatedBy(workflowID)) ?? (isSame ? known?.endedBy : undefined);
  const ended = {
    workflowID,
    generation,
    attempt,
    phase,
    message,
    finishedAt: new Date().toISOString(),
    ...(retry === undefined ? {} : { retry }),
    ...(endedBy === undefined ? {} : { endedBy }),
  };
  const rollout = {
    ...ended,
    paused: null,
    approval: null,
    nextWindow: null,
    soakUntil: null,
    // What an earlier attempt counted is not this one's.
    ...(isSame
      ? {}
      : {
          waves: null,
          verdicts: null,
          failed: null,
          superseded: null,
          wave: null,
          startedAt: null,
          youngestNode: null,
          newNodes: null,
          requests: null,
        }),
  };
  const past = { ...(isSame ? known : {}), ...ended };
  const history = remember(resource?.status?.history, pastAttempt(past, Date.now()));
  try {
    await patchNodeOpUpgradeStatus(
      client,
      namespace,
      name,
      {
        metadata: { uid, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
        status: { rollout, history },
      },
      ROLLOUT_FIELD_MANAGER,
    );
  } catch (error) {
    // A conflict: it is looked at again.
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}

/** Nodes that have joined, as the watches show them. */
const joinedNow = ({ nodes, kairosNodes, upgrades }: WatcherContext, resource: NodeOpUpgrade): string[] =>
  takesNewNodes(resource)
    ? joinedLater(
        resource,
        [...nodes.values()].map((node) => ({ ...node, status: kairosNodes.get(node.name)?.status })),
        upgrades.values(),
      )
    : [];

/** Decided on a live read: the watch may be behind, and a start cannot be taken back. Undefined: there is none. */
export async function readLive(
  { client }: WatcherContext,
  namespace: string,
  name: string,
): Promise<{ resource: NodeOpUpgrade | undefined; writers: Writers }> {
  try {
    const { upgrade, writers } = await readWithWriters(client, namespace, name);
    return { resource: upgrade, writers };
  } catch (error) {
    if (isReason(error, 'NotFound')) return { resource: undefined, writers: { annotations: {} } };
    throw error;
  }
}

/** What is said to a rollout for what a person wrote; who that was, where it is known. */
const saying = (reason: string, who: string | undefined) => ({
  by: 'kubectl',
  reason,
  ...(who === undefined ? {} : { who }),
});
