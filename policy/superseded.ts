import { MANAGED_LABEL } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isFinal } from './engine.ts';
import { joinedSince } from './node-age.ts';
import { matches } from './selector.ts';

/** Who asks for a node: a NodeOpUpgrade, by its UID. */
export interface Claim {
  uid: string;
  attempt: number;
}

export interface ClaimedNode {
  labels: Readonly<Record<string, string>>;
  /** RFC 3339, of the API server. */
  creationTimestamp: string;
}

/** The NodeOpUpgrade to which a node is left. */
export interface Winner {
  /** `namespace/name`. */
  by: string;
  image: string;
}

/**
 * The NodeOpUpgrade that a node is left to, or undefined where the one that asks may have it: of all that want the node,
 * the one created last, if it wants another image. One of the same image is no rival: the second finds the node on the
 * target. Two that were created in the same second are told apart by namespace and name, so that both sides see the same.
 */
export function supersededBy(claim: Claim, node: ClaimedNode, upgrades: Iterable<NodeOpUpgrade>): Winner | undefined {
  const all = [...upgrades];
  const own = all.find(({ metadata }) => metadata.uid === claim.uid);
  if (own === undefined) return undefined;
  const { rollout } = own.status ?? {};
  const begunAt = rollout?.attempt === claim.attempt ? rollout.startedAt : undefined;
  let newest = own;
  for (const other of all) if (other !== own && isNewer(other, newest) && wants(other, node, begunAt)) newest = other;
  if (newest === own || newest.spec.image === own.spec.image) return undefined;
  return { by: keyOf(newest), image: newest.spec.image };
}

/** Why a node is left to somebody else, for people. */
export const supersededText = (node: string, { by, image }: Winner): string =>
  `node ${node} is left to NodeOpUpgrade ${by}, which was created later and wants ${image}: not touched`;

/**
 * Whether nodes that join are upgraded, too: as the rollout says that it was started, since the spec does not know the
 * defaults of the installation. Rollouts of earlier versions do not say it.
 */
export const takesNewNodes = ({ metadata, spec, status }: NodeOpUpgrade): boolean => {
  const rollout = status?.rollout?.generation === metadata.generation ? status?.rollout : undefined;
  return (rollout?.newNodes ?? spec.strategy?.newNodes) === 'Upgrade';
};

const keyOf = ({ metadata }: NodeOpUpgrade) => `${metadata.namespace ?? ''}/${metadata.name}`;

function isNewer(a: NodeOpUpgrade, b: NodeOpUpgrade): boolean {
  const [ofA, ofB] = [a, b].map(({ metadata }) => metadata.creationTimestamp ?? '');
  return ofA === ofB ? keyOf(a) > keyOf(b) : (ofA ?? '') > (ofB ?? '');
}

/**
 * Whether a NodeOpUpgrade wants a node, or has had its say on it since `begunAt`. One that ended before the attempt that
 * asks began wants nothing any more: a person has asked for that attempt after it. One that ended since then keeps what
 * it did, or an older rollout that comes to the node late would take it back; but one that was cancelled gave it up. A
 * node that joined after it began is nothing to it, unless it takes new nodes.
 */
function wants(upgrade: NodeOpUpgrade, node: ClaimedNode, begunAt: string | undefined): boolean {
  const { metadata, spec, status } = upgrade;
  if (metadata.deletionTimestamp !== undefined || spec.upgradeActive === false || spec.dryRun === true) return false;
  if (node.labels[MANAGED_LABEL] === 'false' || !matches(spec.nodeSelector, node.labels)) return false;
  const rollout = status?.rollout?.generation === metadata.generation ? status?.rollout : undefined;
  if (rollout === undefined) return true;
  const { phase, finishedAt } = rollout;
  if (joinedSince(rollout, node) && !takesNewNodes(upgrade)) return false;
  if (!isFinal(phase)) return true;
  if (phase === 'Cancelled' || phase === 'Planned') return false;
  return begunAt !== undefined && finishedAt !== undefined && finishedAt > begunAt;
}
