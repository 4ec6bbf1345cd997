import type { RolloutContext } from '../api/messages.ts';
import type { RolloutSpec } from '../api/rollout-spec.ts';
import type { ClosedGate } from '../policy/gates.ts';
import { closedByWindow, measuredTime, type Measured } from '../policy/window-gate.ts';
import type { ClusterView } from './cluster-view.ts';

/** How long what was measured of the nodes is taken for what it is: they are many, and the gates are asked often. */
const MEASURE_AGAIN_MS = 5_000;

interface Known {
  atMs: number;
  measured: Measured | undefined;
}

const known = new WeakMap<ClusterView, Map<string, Known>>();

/** The time that a node of this rollout needs, as far as that is known. */
export function measuredNow(view: ClusterView, rolloutID: string): Measured | undefined {
  const byRollout = known.get(view) ?? new Map<string, Known>();
  known.set(view, byRollout);
  const before = byRollout.get(rolloutID);
  const nowMs = Date.now();
  if (before !== undefined && Math.abs(nowMs - before.atMs) < MEASURE_AGAIN_MS) return before.measured;
  const attempts = [...view.kairosNodes.values()].map(({ status }) => status.lastAttempt);
  const measured = measuredTime(attempts, rolloutID);
  for (const [id, { atMs }] of byRollout) if (nowMs - atMs > MEASURE_AGAIN_MS) byRollout.delete(id);
  byRollout.set(rolloutID, { atMs: nowMs, measured });
  return measured;
}

/** Why no pull may begin now, or undefined: it is to load the link only while a window is open. */
export const closedForPulls = ({ windows, prePullWhen }: RolloutSpec): ClosedGate | undefined =>
  prePullWhen === 'WindowOpen' ? closedByWindow(windows, Date.now(), undefined) : undefined;

/** The gate `Window`: whether a node of this rollout may be started now. Asked of the clock and of what is known already. */
export function closedWindow(view: ClusterView, { spec, rolloutID }: RolloutContext): ClosedGate | undefined {
  if (spec.windows === undefined) return undefined;
  return closedByWindow(spec.windows, Date.now(), measuredNow(view, rolloutID));
}
