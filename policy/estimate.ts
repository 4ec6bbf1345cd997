import type { KairosNodeStatus } from '../api/types.ts';

/** How long a node was out in one upgrade that went well, and which kind of node it was. */
export interface Measured {
  controlPlane: boolean;
  ms: number;
}

/** As much of a wave as its duration depends on. */
export interface TimedWave {
  group: 'control-plane' | 'worker';
  nodes: number;
  maxUnavailable: number;
  soakMs?: number;
}

/** `typicalMs` with the median of what was measured, `longMs` with its 90th percentile for every node. */
export interface Estimate {
  typicalMs: number;
  longMs: number;
  /** How many upgrades were measured. */
  upgrades: number;
}

/** From a node's mark to its verdict, where its last upgrade went well; undefined: nothing to learn from. */
export function measuredMs(lastAttempt: KairosNodeStatus['lastAttempt']): number | undefined {
  if (lastAttempt?.verdict !== 'Succeeded' || lastAttempt.startedAt === undefined) return undefined;
  const ms = Date.parse(lastAttempt.finishedAt) - Date.parse(lastAttempt.startedAt);
  return ms > 0 ? ms : undefined;
}

/** The nearest-rank percentile of at least one number. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

/** What one node of a group takes: by what was measured of its kind, of the other kind where there is nothing else. */
function perNode(measured: readonly Measured[], group: TimedWave['group']): { typical: number; long: number } {
  const alike = measured.filter(({ controlPlane }) => controlPlane === (group === 'control-plane'));
  const sorted = (alike.length > 0 ? alike : measured).map(({ ms }) => ms).sort((a, b) => a - b);
  return { typical: percentile(sorted, 0.5), long: percentile(sorted, 0.9) };
}

/** Nodes in hand of the wave that runs: since when each of them is. */
export interface InHand {
  ageMs: number;
}

/**
 * How long these waves take, one after the other: so many rounds of each as its budget makes of its nodes, and its soak.
 * Of the first wave some nodes may have ended, and some may be in hand. Undefined where nothing was measured.
 */
export function estimate(
  waves: readonly TimedWave[],
  measured: readonly Measured[],
  begun: { ended: number; inHand: readonly InHand[] } = { ended: 0, inHand: [] },
): Estimate | undefined {
  if (measured.length === 0) return undefined;
  const sum = (which: 'typical' | 'long') =>
    waves.reduce((total, wave, index) => {
      const nodeMs = perNode(measured, wave.group)[which];
      const state = index === 0 ? begun : { ended: 0, inHand: [] };
      return total + waveMs(wave, nodeMs, state) + (wave.soakMs ?? 0);
    }, 0);
  return { typicalMs: sum('typical'), longMs: sum('long'), upgrades: measured.length };
}

function waveMs(
  { nodes, maxUnavailable }: TimedWave,
  nodeMs: number,
  { ended, inHand }: { ended: number; inHand: readonly InHand[] },
): number {
  // One that takes longer than usual will not be through at once.
  const left = inHand.map(({ ageMs }) => Math.max(nodeMs - ageMs, nodeMs / 10)).sort((a, b) => a - b);
  const waiting = Math.max(0, nodes - ended - inHand.length);
  const longest = left.at(-1) ?? 0;
  if (waiting === 0) return longest;
  const budget = Math.max(1, maxUnavailable);
  const idle = Math.max(0, budget - left.length);
  // Each place is free when what is in it is through; then it takes its share of those that wait.
  const places = [...Array.from({ length: Math.min(idle, waiting) }, () => 0), ...left].slice(0, Math.max(1, waiting));
  const rounds = Math.ceil(waiting / places.length);
  return Math.max(longest, Math.max(...places) + rounds * nodeMs);
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** What a time is rounded to, by how far away it is: nobody needs the minute of next week, and each change is a write. */
const GRIDS: readonly (readonly [withinMs: number, gridMs: number])[] = [
  [2 * MINUTE, 5 * SECOND],
  [10 * MINUTE, 30 * SECOND],
  [2 * 60 * MINUTE, MINUTE],
  [12 * 60 * MINUTE, 5 * MINUTE],
];
const COARSEST = 15 * MINUTE;

/**
 * A time that lies ahead, rounded up; the one that was said before stays as long as it is less than one step away, and
 * has not come. The steps are those of a quarter of what has passed where that is more than what is left: an end that
 * creeps away, behind a node that hangs, is not written again and again.
 */
export function steadyTime(dueMs: number, nowMs: number, saidBefore: string | undefined, elapsedMs = 0): string {
  const horizon = Math.max(dueMs - nowMs, elapsedMs / 4);
  const grid = GRIDS.find(([within]) => horizon <= within)?.[1] ?? COARSEST;
  const before = Date.parse(saidBefore ?? '');
  if (saidBefore !== undefined && before > nowMs && Math.abs(before - dueMs) < grid) return saidBefore;
  return new Date(Math.ceil(dueMs / grid) * grid).toISOString();
}
