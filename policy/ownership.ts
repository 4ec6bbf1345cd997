/** What of a Node says whose it is. */
export interface MarkedNode {
  name: string;
  owner?: string;
  unschedulable: boolean;
}

/**
 * Why a node that was taken in hand is not ours to go on with, or undefined while it is: somebody took our mark off it,
 * or uncordoned it. Asked until its image is touched; a person's decision to have the node back is respected there.
 * @param cordoned whether this upgrade cordoned it, which one that writes the recovery system only does not
 */
export function takenFromUs(node: MarkedNode, workflowID: string, cordoned: boolean): string | undefined {
  const { name, owner } = node;
  if (owner !== workflowID) {
    const now = owner === undefined ? 'carries no mark' : `carries the mark ${owner}`;
    return `node ${name} ${now} in place of ${workflowID}: somebody took it out of this upgrade, so it is left as it is`;
  }
  if (cordoned && !node.unschedulable)
    return `somebody uncordoned node ${name} during its upgrade: it stays in service; set kairos.io/retry when it may be upgraded`;
  return undefined;
}
