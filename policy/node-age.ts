import type { RolloutStatus } from '../api/types.ts';

/** Of an attempt, what tells the nodes that were there when it began from those that joined later. */
type Beginning = Pick<RolloutStatus, 'startedAt' | 'youngestNode'>;

/** A Node as far as its age goes: RFC 3339, of the API server. */
interface Aged {
  creationTimestamp: string;
}

/** The creationTimestamp of the node that was created last, or undefined where there is none. */
export function youngestOf(nodes: Iterable<Aged>): string | undefined {
  let youngest: string | undefined;
  for (const { creationTimestamp } of nodes)
    if (youngest === undefined || Date.parse(creationTimestamp) > Date.parse(youngest)) youngest = creationTimestamp;
  return youngest;
}

/**
 * Whether a node was created after all that were there when an attempt began. Both times are the API server's: a clock of
 * ours that is wrong by an hour would make nodes join that were there, or miss those that join. Attempts of earlier
 * versions do not say which node was the youngest, and are told by when they started. One that has not begun has all
 * nodes before it.
 */
export function joinedSince({ youngestNode, startedAt }: Beginning, { creationTimestamp }: Aged): boolean {
  const before = youngestNode ?? startedAt;
  return before !== undefined && Date.parse(creationTimestamp) > Date.parse(before);
}
