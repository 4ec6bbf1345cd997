/** The Lease on a node as it decides. Times as in the Lease (RFC 3339), and as seen by our own clock (ms). */
export interface NodeLease {
  holder: string;
  acquireTime?: string;
  renewTime?: string;
  durationSeconds?: number;
  seenAtMs: number;
  live: boolean;
}

/**
 * Whether somebody holds a Lease on a node now. As medik8s tools judge it: the last renewal, and its duration, by the
 * clock. Beyond that, in doubt for the holder: a renewal that we have seen ourselves counts for its duration although
 * the clock of the holder is behind, and one from the future counts as long as if it were of the moment at which it was
 * first seen. A Lease without holder, renewal or duration is nobody's.
 */
export function isHeld(lease: NodeLease | undefined, nowMs: number): boolean {
  const { holder = '', renewTime, durationSeconds } = lease ?? {};
  if (lease === undefined || holder === '' || renewTime === undefined || durationSeconds === undefined) return false;
  const renewedMs = Date.parse(renewTime);
  if (!Number.isFinite(renewedMs)) return false;
  const durationMs = durationSeconds * 1000;
  const seen = nowMs - lease.seenAtMs <= durationMs;
  if (renewedMs > nowMs) return seen;
  return nowMs <= renewedMs + durationMs || (lease.live && seen);
}

/** Whether the holder must renew its Lease: a third of its duration has passed since it did. */
export function renewalIsDue({ renewTime, durationSeconds = 0 }: NodeLease, nowMs: number): boolean {
  const renewedMs = Date.parse(renewTime ?? '');
  return !(Number.isFinite(renewedMs) && renewedMs <= nowMs && nowMs - renewedMs < (durationSeconds * 1000) / 3);
}

/** Who holds the Lease, in words: since when, until when, and what to type. */
export function holderText(node: string, lease: NodeLease, namespace: string, leaseName: string): string {
  const since = lease.acquireTime === undefined ? '' : ` since ${lease.acquireTime}`;
  const { renewTime = '', durationSeconds = 0 } = lease;
  return `node ${node} is in the hand of ${lease.holder}${since}, by its Lease (renewed at ${renewTime}, good for ${durationSeconds} s): kubectl get lease -n ${namespace} ${leaseName}`;
}
