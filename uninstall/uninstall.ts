import type { Connection } from '@temporalio/client';
import { UNINSTALL_LEASE } from '../api/names.ts';
import { holdLease } from '../kube/lease.ts';
import { pause } from '../kube/pause.ts';
import type { PodView } from '../kube/pods.ts';
import type { Reflector } from '../kube/reflector.ts';
import { formatDuration } from '../policy/duration.ts';
import { decideFirst, decideNext } from '../policy/uninstall.ts';
import type { WatcherContext } from '../watcher/context.ts';
import { mayBeLeft, recoverLeftover } from '../watcher/leftovers.ts';
import { gatherFacts } from './facts.ts';
import { giveBack } from './give-back.ts';
import { Rollouts } from './rollouts.ts';
import type { UninstallSettings } from './settings.ts';

const LOOK_MS = 1_000;
/** A watcher that asked before the Lease was there may still be starting a rollout. */
const QUIET_MS = 5_000;
const LEASE_MS = 30_000;
const RECOVER_MS = 10_000;
/** How long Temporal, or a worker, may be away before what can be done without is done. */
const PATIENCE_MS = 60_000;

/** The operator must not be deleted now. The message says what stands against it, and what to do. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
}

export interface Uninstall {
  readonly context: WatcherContext;
  readonly pods: Reflector<PodView>;
  readonly settings: UninstallSettings;
  readonly connection: Connection;
  readonly temporalNamespace: string;
  /** Aborted at the deadline, or when the program is stopped. */
  readonly signal: AbortSignal;
}

/**
 * Brings the cluster to where the operator may be deleted: no rollout open, no node in hand, none cordoned by us.
 * Resolves with what a person should know nevertheless; the watcher is then still kept from starting anything. Nothing
 * is changed where it is refused at once.
 * @throws RefusedError
 */
export async function uninstall(options: Uninstall): Promise<string[]> {
  const { context, pods, settings } = options;
  const first = decideFirst({ nodes: await gatherFacts(context, pods), heldNodes: settings.heldNodes });
  if (first.action === 'refuse') throw refused(first.reasons, ['nothing was changed']);
  const rollouts = new Rollouts(context);
  const ended = new AbortController();
  const door = closeDoor(options, ended.signal);
  try {
    await door.closed;
    return await untilDone(options, rollouts, ended.signal);
  } catch (error) {
    ended.abort();
    // The watcher is to go on at once.
    await door.opened;
    throw error;
  }
}

/** Keeps the watcher from starting rollouts until `ended`. */
function closeDoor({ context, settings, signal }: Uninstall, ended: AbortSignal) {
  const { client, namespace, log } = context;
  const { promise: closed, resolve, reject } = Promise.withResolvers<void>();
  const late = new RefusedError(
    `the Lease ${namespace}/${UNINSTALL_LEASE} could not be taken: another uninstall may be at work, or the API server is away; nothing was changed`,
  );
  signal.addEventListener('abort', () => reject(late), { once: true });
  const opened = holdLease(client, {
    namespace,
    name: UNINSTALL_LEASE,
    identity: settings.identity,
    durationMs: LEASE_MS,
    onHeld: () => resolve(),
    onLost: () => ended.aborted || log.warn({ lease: UNINSTALL_LEASE }, 'lost, taking it again'),
    signal: ended,
  });
  return { closed, opened };
}

async function untilDone(options: Uninstall, rollouts: Rollouts, ended: AbortSignal): Promise<string[]> {
  const { context, pods, settings, signal } = options;
  const told = new Set<string>();
  let waits: string[] = [];
  const isNeeded = () => waits.length > 0;
  void rollouts.keepAskingWorkers(options.connection, options.temporalNamespace, isNeeded, ended);
  void keepRecovering(context, ended);
  for (let quietSinceMs = performance.now(); !signal.aborted; await pause(LOOK_MS, signal)) {
    const nodes = await gatherFacts(context, pods);
    const { open, trouble, troubleMs } = await rollouts.look();
    const givenUp = troubleMs > Math.min(PATIENCE_MS, settings.timeoutMs / 4);
    const { heldNodes } = settings;
    const decision = decideNext({
      nodes,
      rollouts: open,
      givenUp,
      heldNodes,
      ...(trouble !== undefined && { trouble }),
    });
    if (decision.action === 'refuse') throw refused(decision.reasons, changes(rollouts));
    waits = decision.action === 'wait' ? decision.reasons : [];
    for (const reason of waits.filter((text) => !told.has(text))) context.log.info({ reason }, 'waiting');
    for (const reason of waits) told.add(reason);
    if (decision.action === 'giveBack')
      for (const facts of nodes.filter(({ name }) => decision.nodes.includes(name)))
        await giveBack(context, facts, settings.nodeLeaseNamespace);
    if (decision.action !== 'done') quietSinceMs = performance.now();
    // Without Temporal nothing is starting either.
    else if (givenUp || performance.now() - quietSinceMs >= QUIET_MS) return decision.remarks;
  }
  throw lateError(waits, settings.timeoutMs, rollouts);
}

/** What no workflow looks after any more is recovered as by the watcher, should that be away. Never rejects. */
async function keepRecovering(context: WatcherContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const node of context.nodes.values())
      // That Temporal does not answer is told by its look.
      if (mayBeLeft(context, node)) await recoverLeftover(context, node.name).catch(() => undefined);
    await pause(RECOVER_MS, signal);
  }
}

const refused = (reasons: readonly string[], remarks: readonly string[]) =>
  new RefusedError([...reasons, ...remarks].join('\n'));

function lateError(waits: readonly string[], timeoutMs: number, rollouts: Rollouts): RefusedError {
  const left = waits.length === 0 ? ['it was stopped, or the API server did not answer'] : waits;
  return refused(left, [
    `not done within ${formatDuration(timeoutMs)}: run it again, which takes up where this ended, with a longer UNINSTALL_TIMEOUT (and helm uninstall --timeout) where nodes need it`,
    ...changes(rollouts),
  ]);
}

/** What has been done, for the one who decides to keep the operator. */
const changes = ({ cancelled }: Rollouts): string[] =>
  cancelled.length === 0
    ? []
    : [
        `cancelled were ${cancelled.join(', ')}; they do not start again by themselves: to go on with one after all, set the annotation kairos.io/retry on its NodeOpUpgrade`,
      ];
