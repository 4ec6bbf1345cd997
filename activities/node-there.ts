import { ApplicationFailure } from '@temporalio/common';
import type { NodeRef } from '../api/messages.ts';
import { isReason } from '../kube/errors.ts';
import { readNode } from '../kube/nodes.ts';
import { type ClusterView, sameNode } from './cluster-view.ts';
import { firstOf } from './waiting.ts';

/** Thrown inside a wait when its node was deleted or replaced; never leaves an activity. */
export class NodeGone extends Error {
  constructor(name: string) {
    super(goneText(name));
    this.name = 'NodeGone';
  }
}

/** What is said of a node that was deleted, or made again under its name, before anything was done to it. */
export const goneText = (name: string) =>
  `node ${name} was deleted, or another one has its name now: left out of this rollout, it was not touched`;

/** Whether a node is not there any more, asked live: a watch that lags does not show a node that has just been made. */
export async function isGone(view: ClusterView, { name, uid }: NodeRef): Promise<boolean> {
  try {
    return (await readNode(view.client, name)).uid !== uid;
  } catch (error) {
    if (isReason(error, 'NotFound')) return true;
    throw error;
  }
}

/**
 * Does something with a Node, or with what goes with it, and gives up where it is gone: that would be repeated for ever.
 * @throws ApplicationFailure `NodeGone` (not retried)
 */
export async function failWhereGone<T>(view: ClusterView, node: NodeRef, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isReason(error, 'NotFound') || !(await isGone(view, node))) throw error;
    throw ApplicationFailure.nonRetryable(goneText(node.name), 'NodeGone');
  }
}

/**
 * Runs a wait as long as its node is there. Rejects with NodeGone once the watch has lost it, and the API server says the
 * same; the signal that the wait was given is aborted by then.
 */
export async function whileThere<T>(
  view: ClusterView,
  node: NodeRef,
  signal: AbortSignal,
  wait: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return firstOf<T>(signal, wait, (either) => untilGone(view, node, either));
}

async function untilGone(view: ClusterView, node: NodeRef, signal: AbortSignal): Promise<never> {
  for (;;) {
    await view.nodes.waitFor(node.name, () => (sameNode(view, node) === undefined ? true : undefined), signal);
    if (await isGone(view, node)) throw new NodeGone(node.name);
    await view.nodes.waitFor(node.name, () => (sameNode(view, node) === undefined ? undefined : true), signal);
  }
}
