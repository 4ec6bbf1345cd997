import type { KubeClient } from './client.ts';
import { deleteObject } from './create.ts';
import { defined } from './defined.ts';
import { isReason } from './errors.ts';
import type { RawObject } from './raw-object.ts';
import { type Origin, type Reflector, type ReflectorLog, startReflector } from './reflector.ts';

/**
 * The Lease on a Node, as the tools of medik8s have it (library medik8s/common, pkg/lease): named `node-` and the name of
 * the Node in lower case, all in one namespace, owned by the Node, with the name of the tool as holder.
 */
export interface NodeLeaseView {
  name: string;
  uid: string;
  resourceVersion: string;
  holder: string;
  acquireTime?: string;
  renewTime?: string;
  durationSeconds?: number;
  transitions: number;
  /** When this holder's last renewal was first seen (ms, by our own clock). */
  seenAtMs: number;
  /** Whether it was seen to be renewed: brought by the watch as a change, not by a list as it was. */
  live: boolean;
}

interface LeaseSpec {
  holderIdentity?: string | null;
  leaseDurationSeconds?: number | null;
  acquireTime?: string | null;
  renewTime?: string | null;
  leaseTransitions?: number | null;
}

export interface LeasedNode {
  name: string;
  uid: string;
}

/** The name under which the tools look for the Lease on this node. */
export const nodeLeaseName = (node: string): string => `node-${node}`.toLowerCase();

/** All Leases of that namespace, by name. A namespace that is not there has none. */
export function watchNodeLeases(client: KubeClient, namespace: string, log?: ReflectorLog): Reflector<NodeLeaseView> {
  return startReflector<NodeLeaseView>(client, {
    path: leasesPath(namespace),
    key: ({ metadata }) => metadata.name,
    project: nodeLeaseView,
    ...(log && { log }),
  });
}

/** The Lease on a node as the API server has it now; undefined when there is none. */
export async function readNodeLease(
  client: KubeClient,
  namespace: string,
  node: string,
): Promise<NodeLeaseView | undefined> {
  try {
    const path = `${leasesPath(namespace)}/${encodeURIComponent(nodeLeaseName(node))}`;
    return nodeLeaseView(await client.request<RawObject>({ verb: 'get', path }), { listed: true, before: undefined });
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}

/**
 * Takes, or renews, the Lease on a node. `known` is what the decision was taken on: undefined creates it. What others
 * keep in its labels and annotations stays. Rejects with `Conflict` or `AlreadyExists` where it has changed meanwhile,
 * with `NotFound` where it, or the namespace, is gone.
 */
export async function writeNodeLease(
  client: KubeClient,
  namespace: string,
  node: LeasedNode,
  known: NodeLeaseView | undefined,
  { holder, durationSeconds }: { holder: string; durationSeconds: number },
): Promise<void> {
  const now = microTime();
  const name = nodeLeaseName(node.name);
  const acquireTime = known?.holder === holder ? (known.acquireTime ?? now) : now;
  const spec: LeaseSpec = {
    holderIdentity: holder,
    leaseDurationSeconds: durationSeconds,
    acquireTime,
    renewTime: now,
    leaseTransitions: known === undefined ? 0 : known.transitions + (known.holder === holder ? 0 : 1),
  };
  const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name: node.name, uid: node.uid }];
  const path = leasesPath(namespace);
  if (known === undefined) {
    const metadata = { name, namespace, ownerReferences };
    const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec };
    await client.request({ verb: 'create', path, body });
    return;
  }
  const { uid, resourceVersion } = known;
  const body = { metadata: { uid, resourceVersion, ownerReferences }, spec };
  await client.request({ verb: 'merge-patch', path: `${path}/${encodeURIComponent(name)}`, body });
}

/**
 * Gives the Lease on a node back: it is deleted, as the other tools do it, if it still is this holder's and has not been
 * written since. That it is gone, another's, or was just taken anew is success.
 */
export async function releaseNodeLease(
  client: KubeClient,
  namespace: string,
  node: string,
  holder: string,
): Promise<void> {
  const lease = await readNodeLease(client, namespace, node);
  if (lease?.holder !== holder) return;
  const { uid, resourceVersion } = lease;
  const path = `${leasesPath(namespace)}/${encodeURIComponent(lease.name)}`;
  try {
    await deleteObject(client, path, { uid, resourceVersion });
  } catch (error) {
    if (!isReason(error, 'Conflict')) throw error;
  }
}

function nodeLeaseView({ metadata, spec }: RawObject, { listed, before }: Origin<NodeLeaseView>): NodeLeaseView {
  const { holderIdentity, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions } = (spec ?? {}) as LeaseSpec;
  const holder = holderIdentity ?? '';
  const same =
    before?.uid === metadata.uid && before.holder === holder && before.renewTime === (renewTime ?? undefined);
  return {
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    holder,
    transitions: leaseTransitions ?? 0,
    seenAtMs: same ? before.seenAtMs : Date.now(),
    live: same ? before.live : !listed || before !== undefined,
    ...defined({
      acquireTime: acquireTime ?? undefined,
      renewTime: renewTime ?? undefined,
      durationSeconds: leaseDurationSeconds ?? undefined,
    }),
  };
}

const leasesPath = (namespace: string) =>
  `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;

/** Lease times have six digits after the second. */
const microTime = () => new Date().toISOString().replace('Z', '000Z');
