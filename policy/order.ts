/** Orders names as people do: worker-2 before worker-10. */
export function byName(a: { name: string }, b: { name: string }): number {
  return a.name.localeCompare(b.name, 'en', { numeric: true }) || (a.name < b.name ? -1 : Number(a.name > b.name));
}

/** The nodes of a rollout in the order of their upgrade: the control plane first, then the workers, each by name. */
export function orderNodes<T extends { name: string; controlPlane: boolean }>(
  nodes: readonly T[],
): { controlPlane: T[]; workers: T[] } {
  const sorted = [...nodes].sort(byName);
  return {
    controlPlane: sorted.filter((node) => node.controlPlane),
    workers: sorted.filter((node) => !node.controlPlane),
  };
}
