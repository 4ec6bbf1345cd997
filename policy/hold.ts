/** What tells whether a node still is ours and out of service. */
export interface HeldNode {
  name: string;
  owner?: string;
  unschedulable: boolean;
}

/**
 * Why a node that we cordoned is not ours any more, or undefined while it is: somebody took our mark away, or uncordoned
 * it. Either means that a person wants it otherwise: what was not begun is not begun, and the node is left as it is.
 * @param doing what we were about, such as `it was drained`
 */
export function holdLost(node: HeldNode, workflowID: string, doing: string): string | undefined {
  if (node.owner !== workflowID) {
    const now = node.owner === undefined ? 'is gone' : `now names ${node.owner}`;
    return `the mark kairos.io/upgrade-owner of node ${node.name} ${now}, taken by somebody while ${doing}: its image was not touched, and the node is left as it is`;
  }
  if (node.unschedulable) return undefined;
  return `somebody uncordoned node ${node.name} while ${doing}: its image was not touched, and the node stays in service`;
}
