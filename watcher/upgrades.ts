import { ROLLOUT_FIELD_MANAGER } from '../api/names.ts';
import type { RolloutInput } from '../api/messages.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { rolloutId } from '../kube/names.ts';
import { patchNodeOpUpgradeStatus, readNodeOpUpgrade } from '../kube/node-op-upgrades.ts';
import { decideEngine, pauseReason, type EngineDecision } from '../policy/engine.ts';
import { pastAttempt, remember } from '../policy/history.ts';
import { joinedLater } from '../policy/joined.ts';
import { askedOf, openRequests } from '../policy/requests.ts';
import { timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';
import { mustMayStart } from './may-start.ts';
import { carryRequests } from './requests.ts';
import { specOf } from './spec.ts';

/**
 * Brings one NodeOpUpgrade and its rollout together, by what both say now. Repeating it changes nothing. `again` is
 * called when the rollout has closed, however: what comes after it can start, and an end that it could not write itself
 * is written.
 */
export async function reconcileUpgrade(context: WatcherContext, key: string, again: () => void): Promise<void> {
  const { engine, cluster, log } = context;
  const [namespace = '', name = ''] = key.split('/');
  const workflowID = rolloutId(cluster.id, namespace, name);
  const resource = await readLive(context, namespace, name);
  const described = await engine.describe(workflowID);
  const decision = decideEngine(resource, described, resource === undefined ? [] : joinedNow(context, resource));
  const about = { upgrade: key, workflow: workflowID };
  // Before another attempt begins: what was asked of the one that has ended is not meant for it.
  const isOpen = described.state === 'Open';
  if (resource !== undefined && !isOpen) await carryRequests(context, resource, workflowID, described);
  switch (decision.action) {
    case 'nothing':
      break;
    case 'start': {
      if (resource === undefined) return;
      await mustMayStart(context);
      log.info({ ...about, attempt: decision.attempt }, 'starting rollout');
      await engine.start(workflowID, rolloutInput(context, resource, decision), `${key} → ${resource.spec.image}`);
      break;
    }
    case 'cancel':
      log.info({ ...about, reason: decision.reason }, 'cancelling rollout');
      await engine.cancel(workflowID);
      break;
    case 'pause':
      log.info({ ...about, reason: decision.reason }, 'pausing rollout');
      await engine.signal(workflowID, 'pause', { by: 'kubectl', reason: decision.reason });
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
  if (resource === undefined) return;
  // After a pause, which waits for no worker; and at once of a rollout that begins.
  if (isOpen) await carryRequests(context, resource, workflowID, described);
  else if (decision.action === 'start' && openRequests(resource).length > 0 && askedOf(resource, described) === 'Later')
    again();
}

async function recordEnd(
  { client, cluster }: WatcherContext,
  namespace: string,
  name: string,
  resource: NodeOpUpgrade | undefined,
  { phase, message, attempt, retry }: Extract<EngineDecision, { action: 'recordEnd' }>,
): Promise<void> {
  const { uid = '', generation = 1 } = resource?.metadata ?? {};
  const known = resource?.status?.rollout;
  const isSame = known?.attempt === attempt;
  const ended = {
    workflowID: rolloutId(cluster.id, namespace, name),
    generation,
    attempt,
    phase,
    message,
    finishedAt: new Date().toISOString(),
    ...(retry === undefined ? {} : { retry }),
  };
  const rollout = {
    ...ended,
    paused: null,
    // What an earlier attempt counted is not this one's.
    ...(isSame ? {} : { verdicts: null, failed: null, superseded: null, wave: null, startedAt: null }),
  };
  const past = { ...(isSame ? known : {}), ...ended };
  const history = remember(resource?.status?.history, pastAttempt(past, Date.now()));
  try {
    await patchNodeOpUpgradeStatus(
      client,
      namespace,
      name,
      { metadata: { uid }, status: { rollout, history } },
      ROLLOUT_FIELD_MANAGER,
    );
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}

/** Nodes that have joined, as the watches show them. */
const joinedNow = ({ nodes, kairosNodes, upgrades }: WatcherContext, resource: NodeOpUpgrade): string[] =>
  resource.spec.strategy?.newNodes === 'Upgrade'
    ? joinedLater(
        resource,
        [...nodes.values()].map((node) => ({ ...node, status: kairosNodes.get(node.name)?.status })),
        upgrades.values(),
      )
    : [];

/** Decided on a live read: the watch may be behind, and a start cannot be taken back. */
async function readLive(
  { client }: WatcherContext,
  namespace: string,
  name: string,
): Promise<NodeOpUpgrade | undefined> {
  try {
    return await readNodeOpUpgrade(client, namespace, name);
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}

function rolloutInput(
  context: WatcherContext,
  resource: NodeOpUpgrade,
  { attempt, retry, nodeNames }: Extract<EngineDecision, { action: 'start' }>,
): RolloutInput {
  const { cluster, engine, nodes } = context;
  const { namespace = '', name, uid = '', generation = 1, annotations = {} } = resource.metadata;
  const paused = pauseReason(annotations);
  return {
    cluster,
    request: {
      kind: 'NodeOpUpgrade',
      namespace,
      name,
      uid,
      generation,
      attempt,
      ...(retry === undefined ? {} : { retry }),
    },
    spec: { ...specOf(context, resource.spec), ...(nodeNames === undefined ? {} : { nodeNames }) },
    timing: timingFor(nodes.size, engine.searchAttributes),
    ...(paused === undefined ? {} : { paused }),
  };
}
