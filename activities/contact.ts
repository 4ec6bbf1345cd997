import { Context } from '@temporalio/activity';
import type { NodeInHand } from '../api/messages.ts';
import type { KairosNodeAgentStatus } from '../api/types.ts';
import { isReason, KubeError } from '../kube/errors.ts';
import { readKairosNode } from '../kube/kairos-nodes.ts';
import { type NodeView, readNode } from '../kube/nodes.ts';
import type { ClusterView } from './cluster-view.ts';
import { firstOf, pause } from './waiting.ts';

/** A node that came back tells the API server within its lease, its agent shortly after. */
const CONTACT_MS = 120_000;
const LOOK_AGAIN_MS = 1000;
const LOOK_AT_LEAST_MS = 50;
/** Timers hold at most 2^31-1 ms. */
const LONGEST_PAUSE_MS = 2_000_000_000;

/**
 * How long the worker must have been in unbroken contact with the API server before the silence of a node says
 * anything: an operator that was itself away, or an API server that was, must not judge.
 */
export const contactNeededMs = ({ spec }: Pick<NodeInHand, 'spec'>): number =>
  Math.min(CONTACT_MS, spec.rebootTimeoutMs);

/** When the engine asked for this activity first: its deadlines count from there, over all of its attempts. */
export const askedAtMs = (): number => Context.current().info.scheduledTimestampMs;

export interface Due {
  atMs: number;
  signal: AbortSignal;
  /** How long the contact must have lasted by then; default {@link contactNeededMs}. 0: nothing is judged by then. */
  contactMs?: number;
}

/**
 * The answer of a wait, or undefined when it has none in time: when `atMs` has passed and the worker is in contact.
 * Evidence that comes before that counts. Rejects with what `wait` throws, and with the signal's reason on abort.
 */
export async function answerInTime<T>(
  view: ClusterView,
  hand: NodeInHand,
  due: Due,
  wait: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  return firstOf<T | undefined>(due.signal, wait, (signal) => untilOverdue(view, hand, { ...due, signal }));
}

async function untilOverdue(
  view: ClusterView,
  hand: NodeInHand,
  { atMs, signal, contactMs = contactNeededMs(hand) }: Due,
): Promise<undefined> {
  for (let left = atMs - Date.now(); left > 0; left = atMs - Date.now())
    await pause(Math.min(left, LONGEST_PAUSE_MS), signal);
  await untilInContact(view, contactMs, signal);
  return undefined;
}

/** Until the contact with the API server has been unbroken for so long, as the watches tell; nothing is asked of it. */
export async function untilInContact(view: ClusterView, neededMs: number, signal: AbortSignal): Promise<void> {
  // both: a node that is Ready is judged by what its agent has not said
  while (Math.min(view.nodes.contactMs(), view.kairosNodes.contactMs()) < neededMs)
    await pause(Math.max(LOOK_AT_LEAST_MS, Math.min(LOOK_AGAIN_MS, neededMs / 4)), signal);
}

/** What the API server has of a node at this moment; nothing is older than the question. */
export interface LiveLook {
  /** The node that has the name now, the one that was meant or not; undefined: there is none. */
  node?: NodeView;
  report?: KairosNodeAgentStatus;
}

/**
 * Looks past the watches, which may lag or hang. Tries until it is answered; one that was not answered at first waits
 * for contact again, since nodes too have been without their API server.
 */
export async function lookNow(view: ClusterView, hand: NodeInHand, signal: AbortSignal): Promise<LiveLook> {
  for (;;) {
    try {
      const node = await orNone(readNode(view.client, hand.node.name));
      const report = (await orNone(readKairosNode(view.client, hand.node.name)))?.status;
      return { ...(node === undefined ? {} : { node }), ...(report === undefined ? {} : { report }) };
    } catch (error) {
      if (!(error instanceof KubeError && error.retryable)) throw error;
      await pause(LOOK_AGAIN_MS, signal);
      await untilInContact(view, contactNeededMs(hand), signal);
    }
  }
}

/** What was read, or undefined where it does not exist. */
export async function orNone<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}
