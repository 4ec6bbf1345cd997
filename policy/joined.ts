import { MANAGED_LABEL } from '../api/names.ts';
import type { KairosNodeStatus, NodeOpUpgrade } from '../api/types.ts';
import { joinedSince } from './node-age.ts';
import { runsTarget } from './on-target.ts';
import { matches } from './selector.ts';
import { supersededBy, takesNewNodes } from './superseded.ts';

/** A node, with what its KairosNode says. */
export interface JoinedNode {
  name: string;
  labels: Readonly<Record<string, string>>;
  /** RFC 3339, of the API server. */
  creationTimestamp: string;
  bootID: string;
  status: KairosNodeStatus | undefined;
}

/**
 * Whether a node is still to be taken to the target of a NodeOpUpgrade: its agent has reported from the present boot that
 * it runs something else, and no attempt of this generation has settled it, however that ended.
 */
export function isLeftToUpgrade(
  { bootID, status }: Pick<JoinedNode, 'bootID' | 'status'>,
  request: { uid: string; generation: number },
  version: string,
): boolean {
  if (status?.bootID !== bootID || runsTarget(status, version)) return false;
  const last = status.lastAttempt?.request;
  return last?.uid !== request.uid || last.generation !== request.generation;
}

/**
 * The nodes, by name, for which the next attempt of a NodeOpUpgrade opens after its last one has ended well: with
 * `newNodes: Upgrade`, as the rollout was started with it, those that it selects, that joined after that attempt began, and that are left to upgrade. A node
 * that was there before is none, however late its agent has reported; nor is one that a newer NodeOpUpgrade wants. Each
 * attempt begins later than the one before, so a node opens one at most.
 */
export function joinedLater(
  upgrade: NodeOpUpgrade,
  nodes: Iterable<JoinedNode>,
  upgrades: Iterable<NodeOpUpgrade>,
): string[] {
  const { metadata, spec, status } = upgrade;
  const { uid = '', generation = 0 } = metadata;
  const rollout = status?.rollout;
  if (rollout?.generation !== generation || !takesNewNodes(upgrade)) return [];
  const { phase, version, attempt } = rollout;
  if (phase !== 'Completed' || version === undefined) return [];
  const all = [...upgrades];
  return [...nodes]
    .filter(
      (node) =>
        joinedSince(rollout, node) &&
        node.labels[MANAGED_LABEL] !== 'false' &&
        matches(spec.nodeSelector, node.labels) &&
        isLeftToUpgrade(node, { uid, generation }, version) &&
        supersededBy({ uid, attempt: attempt + 1 }, node, all) === undefined,
    )
    .map(({ name }) => name)
    .sort();
}
