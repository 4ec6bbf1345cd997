import { compareVersions } from './release.ts';

/** Orders names as people do: worker-2 before worker-10. */
export function byName(a: { name: string }, b: { name: string }): number {
  return a.name.localeCompare(b.name, 'en', { numeric: true }) || (a.name < b.name ? -1 : Number(a.name > b.name));
}

/** A node as far as it decides when its turn is. */
export interface OrderedNode {
  name: string;
  controlPlane: boolean;
  /** `topology.kubernetes.io/zone`. */
  zone?: string;
  /** The version that it runs, where its agent has said one. */
  version?: string;
  /** Whether pods run on it without which the rollout itself stands still. */
  host?: boolean;
}

/**
 * The nodes of a rollout in the order of their upgrade: the control plane first, then the workers. In each group the
 * nodes of a zone are together, the zone with the oldest node first; in a zone the oldest first, then by name. Nodes that
 * carry the operator or what it runs on come last: until then everything else is done, and their restart is the last
 * thing that can go wrong. The list that is given is left as it is.
 */
export function orderNodes<T extends OrderedNode>(nodes: readonly T[]): { controlPlane: T[]; workers: T[] } {
  return {
    controlPlane: inTurn(nodes.filter((node) => node.controlPlane)),
    workers: inTurn(nodes.filter((node) => !node.controlPlane)),
  };
}

function inTurn<T extends OrderedNode>(group: readonly T[]): T[] {
  const oldest = new Map<string, string | undefined>();
  for (const { zone = '', version } of group)
    if (!oldest.has(zone) || compareVersions(version, oldest.get(zone)) < 0) oldest.set(zone, version);
  const byZone = ({ zone: a = '' }: T, { zone: b = '' }: T) =>
    a === b ? 0 : compareVersions(oldest.get(a), oldest.get(b)) || byName({ name: a }, { name: b });
  return [...group].sort(
    (a, b) =>
      Number(a.host ?? false) - Number(b.host ?? false) ||
      byZone(a, b) ||
      compareVersions(a.version, b.version) ||
      byName(a, b),
  );
}
