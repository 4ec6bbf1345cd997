import type { RolloutSpec } from '../api/rollout-spec.ts';
import type { Verdict } from '../api/types.ts';
import { isFailure } from './placement.ts';

/** How many nodes may fail: of one wave, and of the whole rollout. Absent: there is no such limit. */
export interface FailureLimits {
  wave?: number;
  rollout?: number;
}

/** How many nodes have failed so far: in one wave, and in the whole rollout, that wave included. */
export interface FailureCounts {
  wave: number;
  rollout: number;
}

/** A failure budget as a number of nodes: percentages are rounded down, so a small one may allow none. */
export function resolveFailures(maxFailed: number | string, nodes: number): number {
  if (typeof maxFailed === 'number') return Math.max(0, Math.floor(maxFailed));
  const percent = Number.parseInt(maxFailed, 10);
  return Math.max(0, Math.floor((nodes * (Number.isFinite(percent) ? percent : 0)) / 100));
}

/**
 * How many nodes of a wave may fail, or undefined where only the rollout's own budget counts. A wave that says nothing
 * allows none where the rollout says nothing either; `stopOnFailure: false` is the older form of "no limit".
 */
export function waveFailures(
  { maxFailed, stopOnFailure }: Pick<RolloutSpec, 'maxFailed' | 'stopOnFailure'>,
  ofWave: number | string | undefined,
  nodes: number,
): number | undefined {
  if (ofWave !== undefined) return resolveFailures(ofWave, nodes);
  return maxFailed === undefined && stopOnFailure ? 0 : undefined;
}

/**
 * Whether the end of a node is counted against the failure budget: every verdict that is a failure, `RolledBack` among
 * them, but not what the strategy asked for (`onTimeout: Skip`), nor what a person took out.
 */
export const countsAsFailed = ({ verdict, tolerated }: { verdict: Verdict; tolerated?: true }): boolean =>
  isFailure(verdict) && tolerated !== true;

/**
 * Which budget is exceeded, for a message, or undefined. The control plane has none: there one failure is too many.
 * Called by the waves: what it answers for numbers that a history holds must stay the same.
 */
export function exceededBudget(limits: FailureLimits, counts: FailureCounts): string | undefined {
  if (limits.wave !== undefined && counts.wave > limits.wave)
    return budgetText('of this wave', limits.wave, counts.wave);
  if (limits.rollout !== undefined && counts.rollout > limits.rollout)
    return budgetText('of the rollout', limits.rollout, counts.rollout);
  return undefined;
}

const budgetText = (whose: string, allowed: number, failed: number) =>
  `${failed} ${failed === 1 ? 'node has' : 'nodes have'} failed, and the failure budget ${whose} (maxFailed) allows ${allowed}`;
