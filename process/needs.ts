import type { KubeClient } from '../kube/client.ts';
import { requireRights, type Right } from './rights.ts';

/** What a program must be allowed to do. */
export interface Needs {
  readonly rights: readonly Right[];
  /** The file that gives the rights. */
  readonly manifest: string;
  /** What it goes on without, asked once: what is lacking, and what to do; undefined where nothing is. */
  readonly wants?: (client: KubeClient) => Promise<string | undefined>;
  /** The Leases on nodes that are shared with other tools, where they are. */
  readonly nodeLeases?: { readonly namespace: string; readonly rights: readonly Right[]; readonly manifest: string };
}

export const NODE_LEASE_MANIFEST = 'deploy/node-leases';

/** The rights on the Leases on nodes, where they are shared with other tools. */
export const leaseNeeds = (namespace: string | undefined, rights: readonly Right[]): Pick<Needs, 'nodeLeases'> =>
  namespace === undefined ? {} : { nodeLeases: { namespace, rights, manifest: NODE_LEASE_MANIFEST } };

/** @throws RightsError that names the account, each missing right and what to apply */
export async function requireLeaseRights(
  client: KubeClient,
  { namespace, rights, manifest }: NonNullable<Needs['nodeLeases']>,
): Promise<void> {
  await requireRights(client, rights, namespace, `${manifest} (or set nodeLeases.enabled=false in the chart)`);
}
