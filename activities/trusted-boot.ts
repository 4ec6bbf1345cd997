import { hasTrustedBoot } from '../policy/trusted-boot.ts';
import type { ClusterView } from './cluster-view.ts';

/** Whether a node has trusted boot (UKI), by what the watches show of it. */
export const onTrustedBoot = (view: ClusterView, node: string): boolean =>
  hasTrustedBoot({ status: view.kairosNodes.get(node)?.status, labels: view.nodes.get(node)?.labels });
