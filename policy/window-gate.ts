import type { WindowSpec } from '../api/rollout-spec.ts';
import type { KairosNodeStatus } from '../api/types.ts';
import { formatDuration } from './duration.ts';
import type { ClosedGate } from './gates.ts';
import { fitInto } from './windows.ts';

/** How long nodes took, and whose that is known of. */
export interface Measured {
  ms: number;
  nodes: number;
  of: 'this rollout' | 'earlier rollouts';
}

type Attempt = NonNullable<KairosNodeStatus['lastAttempt']>;

/** Of a hundred nodes so many were done within what is taken for the time that a node needs. */
const PERCENTILE = 90;

/**
 * The time that a node needs from its mark to its verdict, by the last attempts of all nodes that succeeded: those of
 * this rollout where there are any, else those of earlier ones. Nine of ten nodes were done within it, so that one that
 * was held up does not speak for all. Undefined where nothing has been measured yet.
 */
export function measuredTime(attempts: Iterable<Attempt | undefined>, rolloutID: string): Measured | undefined {
  const own: number[] = [];
  const earlier: number[] = [];
  for (const attempt of attempts) {
    if (attempt?.verdict !== 'Succeeded' || attempt.startedAt === undefined) continue;
    const ms = Date.parse(attempt.finishedAt) - Date.parse(attempt.startedAt);
    if (!(ms > 0)) continue;
    (attempt.rollout === rolloutID ? own : earlier).push(ms);
  }
  const known = own.length > 0 ? own : earlier;
  const ms = known.sort((one, other) => one - other)[Math.ceil((known.length * PERCENTILE) / 100) - 1];
  if (ms === undefined) return undefined;
  return { ms, nodes: known.length, of: own.length > 0 ? 'this rollout' : 'earlier rollouts' };
}

/** RFC 3339, to the second: windows open at whole minutes. */
export const timeText = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');

/** Why a node may not be started now by the windows of its rollout, or undefined. */
export function closedByWindow(
  windows: readonly WindowSpec[] | undefined,
  nowMs: number,
  measured: Measured | undefined,
): ClosedGate | undefined {
  const fit = fitInto(windows ?? [], nowMs, measured?.ms ?? 0);
  const needs =
    measured === undefined
      ? ''
      : `a node takes ${formatDuration(measured.ms)}, by the ${measured.nodes} of ${measured.of} that are measured`;
  switch (fit.fits) {
    case 'now':
      return undefined;
    case 'later': {
      const open = fit.closesAtMs === undefined ? '' : `: it is open until ${timeText(fit.closesAtMs)}, but ${needs}`;
      return {
        gate: 'Window',
        reason: `window closed until ${timeText(fit.opensAtMs)}${open}`,
        opensAtMs: fit.opensAtMs,
      };
    }
    case 'never':
      return {
        gate: 'Window',
        reason:
          fit.longestMs === 0
            ? 'window closed, and none opens within a year: mend strategy.windows'
            : `window too short: ${needs}, and the longest of those to come is open for ${formatDuration(fit.longestMs)}: lengthen strategy.windows`,
      };
  }
}
