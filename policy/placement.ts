import type { Verdict } from '../api/types.ts';

/**
 * Whether a node whose upgrade ended goes back to service, or is kept out on purpose.
 *
 * What is known and serves goes back. What is unknown (Lost, Unverified), has a half-written slot (UpgradeFailed), or
 * whose own pods do not work in the new image (Unhealthy) stays out and is named. `uncordonOnFailure` changes that where
 * it is safe: true also gives back a node whose upgrade failed while it still serves, false keeps out every node that
 * failed; a lost node is never given back.
 *
 * `verified`: the node runs the target, proven, and only its recovery image was not written: it serves.
 */
export function goesBack(verdict: Verdict, uncordonOnFailure: boolean | undefined, verified = false): boolean {
  switch (verdict) {
    case 'Succeeded':
    case 'AlreadyOnTarget':
    case 'Skipped':
    case 'Superseded':
    case 'Cancelled':
      return true;
    case 'RolledBack':
    case 'WrongVersion':
    case 'Failed':
      return uncordonOnFailure ?? true;
    case 'UpgradeFailed':
      return uncordonOnFailure ?? verified;
    case 'NeverRebooted':
    case 'Unhealthy':
      return uncordonOnFailure ?? false;
    case 'Unverified':
    case 'Lost':
      return false;
  }
}

/** Why a node that ended like this is not given back, where nobody asked for that. */
const WHY_KEPT: Partial<Record<Verdict, string>> = {
  UpgradeFailed: 'a slot may be half written',
  NeverRebooted: 'its new image waits for a reboot',
  Unhealthy: 'pods that are moved to it may not run',
  Unverified: 'it is not known what it runs',
  Lost: 'it is not known to serve',
};

/**
 * Why a node that ended is kept out of service, and what to type to give it back; undefined for one that goes back. For
 * the message of its KairosNode: whoever finds a cordoned node looks there.
 */
export function keptOutText(
  node: string,
  verdict: Verdict,
  uncordonOnFailure: boolean | undefined,
): string | undefined {
  if (goesBack(verdict, uncordonOnFailure)) return undefined;
  const asked = goesBack(verdict, undefined) ? 'spec.uncordonOnFailure is false' : WHY_KEPT[verdict];
  return `It is kept out of service: ${asked ?? verdict}. When you know that it may serve: kubectl annotate node ${node} kairos.io/upgrade-owner- && kubectl uncordon ${node}`;
}

/** Whether a node with this verdict is one that the rollout is done with: not one that it gave up for others. */
export const isDone = (verdict: Verdict): boolean =>
  !isFailure(verdict) && verdict !== 'Cancelled' && verdict !== 'Superseded';

/** Whether a verdict counts as a failure of the rollout. */
export function isFailure(verdict: Verdict): boolean {
  switch (verdict) {
    case 'Succeeded':
    case 'AlreadyOnTarget':
    case 'Superseded':
    case 'Cancelled':
      return false;
    case 'Skipped':
    case 'RolledBack':
    case 'WrongVersion':
    case 'Failed':
    case 'UpgradeFailed':
    case 'NeverRebooted':
    case 'Unhealthy':
    case 'Unverified':
    case 'Lost':
      return true;
  }
}
