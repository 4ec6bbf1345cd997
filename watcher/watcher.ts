import { rolloutOfPlan } from '../api/messages.ts';
import { PAUSE_ANNOTATION, RETRY_ANNOTATION } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { holdLease } from '../kube/lease.ts';
import { rolloutId } from '../kube/names.ts';
import { pause } from '../kube/pause.ts';
import { handMadeDrift } from '../policy/drift.ts';
import { heldFor } from '../policy/recovery.ts';
import { REQUEST_ANNOTATIONS } from '../policy/requests.ts';
import { takesNewNodes } from '../policy/superseded.ts';
import type { WatcherContext } from './context.ts';
import { reconcileDrift } from './drifts.ts';
import { mayBeLeft, recoverLeftover } from './leftovers.ts';
import { writeEvents } from './events.ts';
import { KeyedQueue } from './keyed-queue.ts';
import { adoptNode } from './node-marks.ts';
import { tellNotEnabled } from './not-enabled.ts';
import { answerPlanRequest, wantsPlan } from './plans.ts';
import { isSettled, writeStatus } from './status-writer.ts';
import { askRollout, reconcileUpgrade } from './upgrades.ts';

const LEASE_MS = 15_000;
const STATUS_EVERY_MS = 1_000;
const RESYNC_MS = 60_000;
/** How often Temporal is asked whether it is there. */
const PROBE_MS = 10_000;

/**
 * Sees drift and starts or ends rollouts, by what the API server and Temporal say now: every decision is made anew
 * from both, so missed events, restarts and a second watcher do no harm. Only the writing of status and marks is held
 * by a Lease. Runs until the signal is aborted.
 */
export async function runWatcher(context: WatcherContext, identity: string, signal: AbortSignal): Promise<void> {
  const { upgrades, kairosNodes, nodes, log } = context;
  const failed = (what: string) => (key: string, error: unknown) =>
    log.warn({ key, error: (error as Error).message }, `${what}: trying again`);
  // Apart from the others: a rollout may take its time with an answer, and a pause must not wait for that.
  const requests = new KeyedQueue((key) => askRollout(context, key), failed('request'), signal);
  const rollouts = new KeyedQueue(
    (key) => reconcileUpgrade(context, key, { again: () => rollouts.add(key), ask: () => requests.addNow(key) }),
    failed('rollout'),
    signal,
  );
  const plans = new KeyedQueue((key) => answerPlanRequest(context, key, () => plans.add(key)), failed('plan'), signal);
  const drifts = new KeyedQueue(
    (image) => reconcileDrift(context, image, () => drifts.add(image), signal),
    failed('drift'),
    signal,
  );
  const wantDrift = (name: string) => {
    const node = kairosNodes.get(name);
    const image = node === undefined ? undefined : handMadeDrift(node);
    if (image !== undefined) drifts.add(image);
  };
  const leftovers = new KeyedQueue((name) => recoverLeftover(context, name), failed('recovery'), signal);
  const wantRecovery = (name: string) => {
    const node = nodes.get(name);
    if (node !== undefined && mayBeLeft(context, node)) leftovers.add(name);
  };
  upgrades.onChange((key, now, before) => {
    if (asksAnew(now, before)) rollouts.addNow(key);
    if (asksForPlan(now, before)) plans.addNow(key);
  });
  const lookAtHeld = (name: string) => {
    if (heldFor(nodes.get(name)?.owner) !== undefined) wantRecovery(name);
  };
  /** A node that joined, was labelled, or reports from another boot, may be one that a rollout which has ended is to upgrade, too. */
  const wantJoined = () => {
    for (const upgrade of upgrades.values())
      if (takesNewNodes(upgrade)) rollouts.add(`${upgrade.metadata.namespace}/${upgrade.metadata.name}`);
  };
  kairosNodes.onChange((name, now, before) => {
    wantDrift(name);
    lookAtHeld(name);
    if (now?.status.bootID !== before?.status.bootID) wantJoined();
  });
  nodes.onChange((name, now, before) => {
    lookAtHeld(name);
    if (JSON.stringify(now?.labels) !== JSON.stringify(before?.labels)) wantJoined();
  });
  await Promise.all([upgrades.synced(signal), kairosNodes.synced(signal), nodes.synced(signal)]);
  log.info({ cluster: context.cluster.id, upgrades: upgrades.size, nodes: nodes.size }, 'watcher runs');

  const lookAtAll = () => {
    for (const upgrade of upgrades.values()) {
      const key = `${upgrade.metadata.namespace}/${upgrade.metadata.name}`;
      rollouts.addNow(key);
      if (wantsPlan(upgrade)) plans.addNow(key);
    }
    for (const node of kairosNodes.values()) wantDrift(node.name);
    for (const node of nodes.values()) wantRecovery(node.name);
  };
  // Its database may be another one now: everything is looked at again.
  context.engine.onReturn(() => void keepAttributes(context).then(lookAtAll));
  const lease = holdLease(context.client, {
    namespace: context.namespace,
    name: 'kairos-watcher',
    identity,
    durationMs: LEASE_MS,
    onHeld: (held) => void writeWhileHeld(context, identity, held, failed('status')),
    onLost: () => log.info('another watcher writes the status now'),
    signal,
  });
  const probing = probeUntil(context, signal);
  while (!signal.aborted) {
    await keepAttributes(context);
    lookAtAll();
    await cancelOrphans(context, { rollouts, plans });
    await pause(RESYNC_MS, signal).catch(() => undefined);
  }
  await Promise.all([lease, probing]);
}

/** Whether a person may have asked for something: a new or changed spec, an annotation of ours, a deletion. */
function asksAnew(now: NodeOpUpgrade | undefined, before: NodeOpUpgrade | undefined): boolean {
  const asked = (upgrade: NodeOpUpgrade | undefined) => {
    const { uid, generation, deletionTimestamp, annotations = {} } = upgrade?.metadata ?? {};
    const asking = [PAUSE_ANNOTATION, RETRY_ANNOTATION, ...REQUEST_ANNOTATIONS];
    return [uid, generation, deletionTimestamp, ...asking.map((annotation) => annotations[annotation])];
  };
  const earlier = asked(before);
  return asked(now).some((value, index) => value !== earlier[index]);
}

/** Whether a plan is to be made that was not before, or was asked for of a resource that is gone. */
function asksForPlan(now: NodeOpUpgrade | undefined, before: NodeOpUpgrade | undefined): boolean {
  const wants = (upgrade: NodeOpUpgrade | undefined) => upgrade !== undefined && wantsPlan(upgrade);
  if (now === undefined || now.metadata.deletionTimestamp !== undefined) return wants(before);
  return wants(now) && (!wants(before) || asksAnew(now, before));
}

/** A database that was lost took the search attributes along, and workflows that write them would stand still. */
async function keepAttributes({ engine, log }: WatcherContext): Promise<void> {
  try {
    await engine.addSearchAttributes();
  } catch (error) {
    log.debug({ error: (error as Error).message }, 'search attributes could not be added');
  }
}

async function probeUntil({ engine }: WatcherContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await engine.probe();
    await pause(PROBE_MS, signal);
  }
}

/** Open rollouts and plans whose resource is gone are looked at like those of deleted ones. */
async function cancelOrphans(
  { engine, upgrades, cluster, log }: WatcherContext,
  { rollouts, plans }: { rollouts: KeyedQueue; plans: KeyedQueue },
): Promise<void> {
  try {
    // By id, since a long name is cut and hashed in it.
    const known = new Set(
      [...upgrades.values()].map(({ metadata }) => rolloutId(cluster.id, metadata.namespace ?? '', metadata.name)),
    );
    for (const id of await engine.openRollouts()) {
      const [type, , namespace = '', name = ''] = id.split('/');
      if (namespace === '_drift' || known.has(rolloutOfPlan(id))) continue;
      (type === 'plan' ? plans : rollouts).add(`${namespace}/${name}`);
    }
  } catch (error) {
    log.warn({ error: (error as Error).message }, 'open rollouts could not be listed');
  }
}

/** The one writer of status, of Events and of marks on Nodes, as long as the Lease is held. */
async function writeWhileHeld(
  context: WatcherContext,
  identity: string,
  held: AbortSignal,
  failed: (key: string, error: unknown) => void,
): Promise<void> {
  const { upgrades, kairosNodes, nodes } = context;
  writeEvents(context, identity, held);
  void tellNotEnabled(context, held);
  const adopt = new KeyedQueue((name) => adoptNode(context, name), failed, held);
  const stopListening = [
    kairosNodes.onChange((name, now, before) => {
      if (before === undefined || now?.ownerUID !== before.ownerUID) adopt.add(name);
    }),
    nodes.onChange((name, now, before) => {
      if (before?.uid !== now?.uid) adopt.add(name);
    }),
  ];
  for (const node of kairosNodes.values()) adopt.add(node.name);
  while (!held.aborted) {
    for (const upgrade of upgrades.values()) {
      if (isSettled(context, upgrade)) continue;
      const key = `${upgrade.metadata.namespace}/${upgrade.metadata.name}`;
      try {
        await writeStatus(context, key);
      } catch (error) {
        failed(key, error);
      }
    }
    await pause(STATUS_EVERY_MS, held).catch(() => undefined);
  }
  for (const stop of stopListening) stop();
}
