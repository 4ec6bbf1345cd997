import type { CurrentWave, Eta, KairosNodeStatus, PlanStatus, RolloutStatus } from '../api/types.ts';
import { type Measured, type TimedWave, estimate, steadyTime } from './estimate.ts';

/** How many nodes ended, with the target and without. */
export interface Ended {
  done: number;
  failed: number;
}

/**
 * The wave that is running. Its rollout counts verdicts at the end of each wave; what the KairosNodes say beyond that is
 * of the one that runs.
 * @param ended what ended in the whole attempt, by the KairosNodes @param counted the same, as the rollout has written it
 */
export function currentWave(
  rollout: RolloutStatus | undefined,
  plan: PlanStatus | undefined,
  ended: Ended,
  counted: Ended,
): CurrentWave | undefined {
  const name = rollout?.wave;
  if (name === undefined || (rollout?.phase !== 'Running' && rollout?.phase !== 'Paused')) return undefined;
  const waves = plan?.waves ?? [];
  const index = waves.findIndex((wave) => wave.name === name);
  const nodes = waves[index]?.nodes;
  const done = Math.max(0, ended.done - counted.done);
  const failed = Math.max(0, ended.failed - counted.failed);
  const summary = nodes === undefined ? name : `${name} ${done + failed}/${nodes} (${index + 1} of ${waves.length})`;
  return {
    name,
    ...(nodes === undefined ? {} : { number: index + 1, of: waves.length, nodes }),
    done,
    failed,
    summary,
  };
}

/** The waves that are left, the one that runs first, as far as their duration depends on them. */
function wavesLeft({ waves = [] }: PlanStatus, name: string): TimedWave[] {
  const index = waves.findIndex((wave) => wave.name === name);
  return (index < 0 ? [] : waves.slice(index)).map(({ group, nodes, maxUnavailable, soakSeconds }) => ({
    group,
    nodes,
    maxUnavailable,
    ...(soakSeconds === undefined ? {} : { soakMs: soakSeconds * 1000 }),
  }));
}

export interface EtaOf {
  rollout: RolloutStatus | undefined;
  plan: PlanStatus | undefined;
  wave: CurrentWave | undefined;
  /** The nodes in hand. */
  inHand: readonly { status: KairosNodeStatus }[];
  /** Upgrades of this attempt that went well. */
  measured: readonly Measured[];
  /** Such upgrades of the cluster before it: they count until this attempt has its own. */
  before: readonly Measured[];
  known: Eta | undefined;
  atMs: number;
}

/** When the rollout will have ended, or undefined where that is not known: nothing measured, not planned, paused. */
export function etaOf({ rollout, plan, wave, inHand, measured, before, known, atMs }: EtaOf): Eta | undefined {
  if (rollout?.phase !== 'Running' || plan?.attempt !== rollout.attempt || wave === undefined) return undefined;
  const own = measured.length > 0;
  const left = wavesLeft(plan, wave.name);
  if (left.length === 0) return undefined;
  const begun = {
    ended: wave.done + wave.failed,
    inHand: inHand.map(({ status }) => ({
      ageMs: Math.max(0, atMs - Date.parse(status.inHand?.startedAt ?? '') || 0),
    })),
  };
  const rest = estimate(left, own ? measured : before, begun);
  if (rest === undefined) return undefined;
  const elapsedMs = Math.max(0, atMs - Date.parse(rollout.startedAt ?? '') || 0);
  const shown = (ms: number, last: string | undefined) => steadyTime(atMs + ms, atMs, last, elapsedMs);
  return {
    at: shown(rest.typicalMs, known?.at),
    latest: shown(rest.longMs, known?.latest),
    from: own ? 'upgrades of this attempt' : 'earlier upgrades of this cluster',
  };
}
