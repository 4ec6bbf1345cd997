import type { Place } from '../api/messages.ts';

/** A node that is not available: marked by a workflow, NotReady, or cordoned. */
export interface OutNode {
  name: string;
  controlPlane: boolean;
  /** Whether it carries an owner mark (held ones included). */
  marked: boolean;
  /** It is kept out on purpose, in nobody's hand. */
  held?: true;
  /** Position of its mark in the watch; 0 when it was there before the watch began. */
  order: number;
}

/** A budget as a number of nodes: percentages are rounded down, and at least 1. */
export function resolveBudget(maxUnavailable: number | string, nodes: number): number {
  if (typeof maxUnavailable === 'number') return Math.max(1, Math.floor(maxUnavailable));
  const percent = Number.parseInt(maxUnavailable, 10);
  return Math.max(1, Math.floor((nodes * (Number.isFinite(percent) ? percent : 0)) / 100));
}

/**
 * Whether a node may be taken out, by what the watch has delivered.
 *
 * With `order` (the node carries its own mark already) only what was there before counts: of two marks the earlier
 * one in the watch goes on, whichever worker set it. Without, everything counts: this is the question asked before.
 * A control-plane node goes on only if no other control-plane node is out, whoever took it out: also one that was
 * planned as a worker, since a node that joins gets its role some time after it is there.
 * @returns undefined when it may go, else who is in the way.
 */
export function whoIsInTheWay(
  place: Place,
  node: Pick<OutNode, 'name' | 'controlPlane'>,
  out: Iterable<OutNode>,
  order?: number,
): string[] | undefined {
  const before = [...out].filter((other) => other.name !== node.name && markedBefore(other, order));
  const names = (rivals: readonly OutNode[]) => rivals.map(({ name }) => name).sort();
  const isPlanned = place.group === 'control-plane';
  const peers = isPlanned || node.controlPlane ? before.filter((other) => other.controlPlane) : [];
  if (peers.length > 0) return names(peers);
  return isPlanned || before.length < place.budget ? undefined : names(before);
}

/** Whether a node that is out counts for one whose own mark has this order; without an order, every one does. */
export function markedBefore(other: OutNode, order: number | undefined): boolean {
  if (order === undefined || !other.marked || order === 0) return true;
  return other.order < order;
}
