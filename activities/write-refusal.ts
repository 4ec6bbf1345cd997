import type { GateAnswer, NodeUpgradeInput } from '../api/messages.ts';
import type { KairosNodeStatus } from '../api/types.ts';
import type { NodeView } from '../kube/nodes.ts';
import { trustedBootRefusal } from '../policy/trusted-boot.ts';

/** Why the images of this node are not written, or need not be; undefined where they are. */
export function writeRefusal(
  { spec, target }: NodeUpgradeInput,
  node: NodeView,
  status: KairosNodeStatus | undefined,
): GateAnswer | undefined {
  const refused = trustedBootRefusal({ status, labels: node.labels }, spec);
  if (refused !== undefined)
    return { answer: 'Done', verdict: 'Failed', message: `node ${node.name}: ${refused}; its image was not touched` };
  const recovery = status?.recovery;
  if (spec.upgradeActive || spec.force || recovery?.digest === undefined || recovery.digest !== target.digest)
    return undefined;
  return {
    answer: 'Done',
    verdict: 'AlreadyOnTarget',
    message: `its recovery system holds ${recovery.version} (${recovery.digest}) already, written at ${recovery.writtenAt}: not touched`,
  };
}
