import { NODE_LEASE_HOLDER } from '../api/names.ts';
import type { NodeInHand, NodeRef } from '../api/messages.ts';
import { isReason } from '../kube/errors.ts';
import {
  nodeLeaseName,
  readNodeLease,
  releaseNodeLease,
  writeNodeLease,
  type NodeLeaseView,
} from '../kube/node-leases.ts';
import type { ClosedGate } from '../policy/gates.ts';
import { holderText, isHeld, renewalIsDue } from '../policy/node-lease.ts';
import type { ClusterView, NodeLeases } from './cluster-view.ts';

/** As long as that of node-maintenance-operator: longer than a write and a reboot with nobody there to renew it. */
const DURATION_SECONDS = 3600;
/** How often a step looks whether its Lease is to be renewed, in what the watch has. */
const LOOK_MS = 60_000;
const ATTEMPTS = 5;

const OURS = { holder: NODE_LEASE_HOLDER, durationSeconds: DURATION_SECONDS };

/** The gate: whether another tool has the node in hand, by what the watch has delivered. */
export function closedLease(view: ClusterView, node: string): ClosedGate | undefined {
  if (view.leases === undefined) return undefined;
  const { namespace, byName } = view.leases;
  return heldByAnother(byName.get(nodeLeaseName(node)), node, namespace);
}

function heldByAnother(lease: NodeLeaseView | undefined, node: string, namespace: string): ClosedGate | undefined {
  if (lease === undefined || lease.holder === NODE_LEASE_HOLDER || !isHeld(lease, Date.now())) return undefined;
  return { gate: 'Lease', reason: holderText(node, lease, namespace, lease.name) };
}

/**
 * Takes the Lease on a node, so that other tools keep off: read live, and written only to what was read. One that is
 * ours already is renewed, one that has run out is taken over.
 * @returns why it cannot be taken, or undefined
 */
export async function takeNodeLease(view: ClusterView, node: NodeRef): Promise<ClosedGate | undefined> {
  if (view.leases === undefined) return undefined;
  const { namespace } = view.leases;
  for (let attempt = 1; ; attempt++) {
    try {
      return await takeOnce(view, view.leases, node);
    } catch (error) {
      if (isReason(error, 'Forbidden', 'NotFound') && attempt > 1) return notToBeTaken(node.name, namespace, error);
      const changed = isReason(error, 'Conflict', 'AlreadyExists', 'Forbidden', 'NotFound');
      if (!changed || attempt === ATTEMPTS) throw error;
    }
  }
}

async function takeOnce(view: ClusterView, leases: NodeLeases, node: NodeRef): Promise<ClosedGate | undefined> {
  const { namespace, byName } = leases;
  const lease = await readNodeLease(view.client, namespace, node.name);
  const seen = byName.get(nodeLeaseName(node.name));
  // The watch knows since when it has not changed; a live read knows what it is.
  const known = lease !== undefined && seen?.resourceVersion === lease.resourceVersion ? seen : lease;
  const closed = heldByAnother(known, node.name, namespace);
  if (closed === undefined) await writeNodeLease(view.client, namespace, node, lease, OURS);
  return closed;
}

/** Its namespace went, and the rights in it with it: the node waits, rather than to fail for that. */
const notToBeTaken = (node: string, namespace: string, error: unknown): ClosedGate => ({
  gate: 'Lease',
  reason: `node ${node}: its Lease cannot be taken (${(error as Error).message}): see that the namespace ${namespace} and the rights of deploy/node-leases are there, or turn nodeLeases off in the chart`,
});

/**
 * Gives our Lease on a node back; another's, or none, is left as it is. Repeating it changes nothing. Where we may not
 * do that any more it runs out by itself: no node waits for it.
 */
export async function giveLeaseBack(view: ClusterView, node: NodeRef): Promise<void> {
  if (view.leases === undefined) return;
  try {
    await releaseNodeLease(view.client, view.leases.namespace, node.name, NODE_LEASE_HOLDER);
  } catch (error) {
    if (!isReason(error, 'Forbidden', 'NotFound')) throw error;
  }
}

/**
 * Runs a step of a node in hand while the Lease on the node is kept: renewed when a third of its time has passed, with
 * one request. Best effort, as the node is past its gates: one that another tool took after ours ran out is left to it.
 */
export async function keepingLease<T>(view: ClusterView, { node }: NodeInHand, run: () => Promise<T>): Promise<T> {
  if (view.leases === undefined) return run();
  const renew = () => void renewLease(view, node).catch(() => undefined);
  renew();
  const timer = setInterval(renew, LOOK_MS);
  try {
    return await run();
  } finally {
    clearInterval(timer);
  }
}

async function renewLease(view: ClusterView, node: NodeRef): Promise<void> {
  const seen = view.leases?.byName.get(nodeLeaseName(node.name));
  if (seen?.holder === NODE_LEASE_HOLDER && !renewalIsDue(seen, Date.now())) return;
  if (seen !== undefined && seen.holder !== NODE_LEASE_HOLDER && isHeld(seen, Date.now())) return;
  await takeNodeLease(view, node);
}
