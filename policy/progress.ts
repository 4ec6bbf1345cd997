import type { CurrentWave, Eta, KairosNodeStatus, PlanStatus, RolloutStatus } from '../api/types.ts';
import { type Measured, type TimedWave, estimate, steadyTime } from './estimate.ts';

/** How many nodes ended, with the target and without. */
export interface Ended {
  done: number;
  failed: number;
}

type Waves = NonNullable<PlanStatus['waves']>;

/**
 * The waves that the attempt carries out. Rollouts of earlier versions do not say them: they are those of the plan, as
 * long as nobody has asked for another one since.
 */
function wavesOf(rollout: RolloutStatus, plan: PlanStatus | undefined): Waves {
  if (rollout.waves !== undefined) return rollout.waves;
  return plan?.attempt === rollout.attempt && plan.asked === undefined ? (plan.waves ?? []) : [];
}

/**
 * The wave that is running. Its rollout counts verdicts at the end of each wave, the KairosNodes say them at once: what
 * has ended since the wave began is of this one, also when it is over and soaks, or the next one waits for approval.
 * @param ended what ended in the whole attempt, by the KairosNodes @param counted the same, as the rollout has written it
 * @param before what had ended when the wave began; undefined where its rollout does not say it
 */
export function currentWave(
  rollout: RolloutStatus | undefined,
  plan: PlanStatus | undefined,
  ended: Ended,
  counted: Ended,
  before: Ended = counted,
): CurrentWave | undefined {
  const name = rollout?.wave;
  if (name === undefined || (rollout?.phase !== 'Running' && rollout?.phase !== 'Paused')) return undefined;
  const waves = wavesOf(rollout, plan);
  const index = waves.findIndex((wave) => wave.name === name);
  const nodes = waves[index]?.nodes;
  const done = Math.max(0, ended.done - before.done, counted.done - before.done);
  const failed = Math.max(0, ended.failed - before.failed, counted.failed - before.failed);
  const summary = nodes === undefined ? name : `${name} ${done + failed}/${nodes} (${index + 1} of ${waves.length})`;
  return {
    name,
    ...(nodes === undefined ? {} : { number: index + 1, of: waves.length, nodes }),
    done,
    failed,
    summary,
  };
}

/**
 * The waves that are left, the one that runs first, as far as their duration depends on them. Of one that soaks only
 * the rest of that is left; of one behind which a wave waits for approval nothing.
 */
function wavesLeft(rollout: RolloutStatus, waves: Waves, name: string, atMs: number): TimedWave[] {
  const first = rollout.approval?.wave ?? name;
  const index = waves.findIndex((wave) => wave.name === first);
  const left = (index < 0 ? [] : waves.slice(index)).map(
    ({ group, nodes, maxUnavailable, soakSeconds }): TimedWave => ({
      group,
      nodes,
      maxUnavailable,
      ...(soakSeconds === undefined ? {} : { soakMs: soakSeconds * 1000 }),
    }),
  );
  const [running, ...others] = left;
  if (running === undefined || rollout.soakUntil === undefined) return left;
  return [{ ...running, nodes: 0, soakMs: Math.max(0, Date.parse(rollout.soakUntil) - atMs) }, ...others];
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

/**
 * When the rollout will have ended, or undefined where that is not known: nothing measured, not planned, paused, or
 * nodes are tried again, which no plan has.
 */
export function etaOf({ rollout, plan, wave, inHand, measured, before, known, atMs }: EtaOf): Eta | undefined {
  if (rollout?.phase !== 'Running' || wave === undefined) return undefined;
  const own = measured.length > 0;
  const left = wavesLeft(rollout, wavesOf(rollout, plan), wave.name, atMs);
  if (left.length === 0) return undefined;
  const begun = {
    ended: rollout.approval === undefined ? wave.done + wave.failed : 0,
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
