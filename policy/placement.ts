import type { Verdict } from '../api/types.ts';

/**
 * Whether a node whose upgrade ended goes back to service, or is kept out on purpose.
 *
 * What is known and serves goes back. What is unknown (Lost, Unverified), or has a half-written slot (UpgradeFailed),
 * stays out and is named. `uncordonOnFailure` changes that where it is safe: true also gives back a node whose upgrade
 * failed while it still serves, false keeps out every node that failed; a lost node is never given back.
 *
 * `verified`: the node runs the target, proven, and only its recovery image was not written: it serves.
 */
export function goesBack(verdict: Verdict, uncordonOnFailure: boolean | undefined, verified = false): boolean {
  switch (verdict) {
    case 'Succeeded':
    case 'AlreadyOnTarget':
    case 'Skipped':
    case 'Cancelled':
      return true;
    case 'RolledBack':
    case 'WrongVersion':
    case 'Failed':
      return uncordonOnFailure ?? true;
    case 'UpgradeFailed':
      return uncordonOnFailure ?? verified;
    case 'NeverRebooted':
      return uncordonOnFailure ?? false;
    case 'Unverified':
    case 'Lost':
      return false;
  }
}

/** Whether a verdict counts as a failure of the rollout. */
export function isFailure(verdict: Verdict): boolean {
  switch (verdict) {
    case 'Succeeded':
    case 'AlreadyOnTarget':
    case 'Cancelled':
      return false;
    case 'Skipped':
    case 'RolledBack':
    case 'WrongVersion':
    case 'Failed':
    case 'UpgradeFailed':
    case 'NeverRebooted':
    case 'Unverified':
    case 'Lost':
      return true;
  }
}
