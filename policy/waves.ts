import type { NodeRef } from '../api/messages.ts';
import type { PlannedWave } from '../api/plan-messages.ts';
import type { RolloutSpec, WaveSpec } from '../api/rollout-spec.ts';
import { parseDurationMs } from './duration.ts';
import { resolveBudget } from './budget.ts';
import { resolveFailures, waveFailures } from './failure-budget.ts';
import { matches } from './selector.ts';
import { STRATEGY_DEFAULTS } from './strategy.ts';

/**
 * Nodes of one wave's workflow. A node costs its wave some 15 events of history, and a server ends a workflow at
 * 51,200: larger waves go on in a workflow of their own.
 */
export const SEGMENT_NODES = 2_000;

/** A server refuses messages of 2 MB: what one run of a rollout hands to the next must stay below, with what is around it. */
export const MOST_CARRIED_CHARACTERS = 1_500_000;

/** The wave of what no other takes; no other may have its name, unless it takes all that are left. */
const REST = 'workers';

/** As much of a node as a plan looks at. */
export interface PlannedNode extends NodeRef {
  labels: Readonly<Record<string, string>>;
}

type Strategy = Pick<RolloutSpec, 'waves' | 'canarySoakMs' | 'maxUnavailable' | 'maxFailed' | 'stopOnFailure'>;

/** The groups of a plan, each in the order in which its nodes are upgraded. */
export interface PlannedGroups {
  controlPlane: readonly NodeRef[];
  workers: readonly PlannedNode[];
}

/**
 * The waves of a plan: the control plane, one node at a time, then those of the workers. Empty ones are left out. Of the
 * control plane one failure is too many, so its wave has no failure budget.
 */
export function composeWaves({ controlPlane, workers }: PlannedGroups, strategy: Strategy): PlannedWave[] {
  const first: PlannedWave = {
    name: 'control-plane',
    group: 'control-plane',
    nodes: controlPlane.map(refOf),
    budget: 1,
  };
  return [...(controlPlane.length === 0 ? [] : [first]), ...planWaves(workers, strategy)];
}

/** How many nodes of a plan may fail, all waves together; undefined: only what its waves say counts. */
export function rolloutFailures(
  { maxFailed }: Pick<RolloutSpec, 'maxFailed'>,
  { controlPlane, workers }: PlannedGroups,
): number | undefined {
  return maxFailed === undefined ? undefined : resolveFailures(maxFailed, controlPlane.length + workers.length);
}

/**
 * The workers in waves, in the order that they are given in: every worker in exactly one wave. A wave takes, of those
 * that none before it took, the ones that its selector matches, as many as it asks for; percentages are of all workers,
 * rounded down, and at least one. What is left goes into a last wave. A share of nodes that may be out is of the wave
 * where the wave says it, of all workers where the strategy does.
 */
export function planWaves(workers: readonly PlannedNode[], strategy: Strategy): PlannedWave[] {
  const asked = strategy.waves ?? standardWaves(workers.length, strategy);
  const waves: PlannedWave[] = [];
  let left = [...workers];
  for (const wave of [...asked, { name: REST }]) {
    const taken = take(left, wave, workers.length);
    const known = new Set(taken);
    left = left.filter((node) => !known.has(node));
    if (taken.length > 0) waves.push(planned(wave, taken, workers.length, strategy));
  }
  return waves;
}

/**
 * A bad image should meet one worker, and show itself within its soak, whatever the rest of the rollout may bear. With
 * `stopOnFailure: false` it was asked for that nothing stops the rollout.
 */
function standardWaves(workers: number, { canarySoakMs, stopOnFailure }: Strategy): WaveSpec[] {
  if (workers < 2) return [];
  const soakMs = canarySoakMs ?? parseDurationMs(STRATEGY_DEFAULTS.canarySoak);
  return [
    { name: 'canary', nodes: 1, ...(soakMs === 0 ? {} : { soakMs }), ...(stopOnFailure ? { maxFailed: 0 } : {}) },
  ];
}

function take(left: readonly PlannedNode[], { nodes, nodeSelector }: WaveSpec, all: number): PlannedNode[] {
  const fitting = nodeSelector === undefined ? [...left] : left.filter(({ labels }) => matches(nodeSelector, labels));
  return nodes === undefined ? fitting : fitting.slice(0, resolveBudget(nodes, all));
}

function planned(wave: WaveSpec, nodes: readonly PlannedNode[], all: number, strategy: Strategy): PlannedWave {
  const budget =
    wave.maxUnavailable === undefined
      ? resolveBudget(strategy.maxUnavailable, all)
      : resolveBudget(wave.maxUnavailable, nodes.length);
  const maxFailed = waveFailures(strategy, wave.maxFailed, nodes.length);
  return {
    name: wave.name,
    group: 'worker',
    nodes: nodes.map(refOf),
    budget,
    ...(wave.soakMs === undefined || wave.soakMs === 0 ? {} : { soakMs: wave.soakMs }),
    ...(wave.approval === undefined ? {} : { approval: wave.approval }),
    ...(maxFailed === undefined ? {} : { maxFailed }),
    ...(nodes.length > SEGMENT_NODES ? { segment: SEGMENT_NODES } : {}),
  };
}

const refOf = ({ name, uid }: NodeRef): NodeRef => ({ name, uid });
