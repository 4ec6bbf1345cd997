import type { PlanRisk } from '../api/plan-messages.ts';
import type { RiskEffect } from '../api/types.ts';
import { type DrainOptions, type DrainPod, decideDrain, drainRefusal, listed } from './drain.ts';
import { formatDuration } from './duration.ts';

/** A pod on a node of the plan. */
export interface PlannedPod extends DrainPod {
  uid: string;
  node: string;
  ready: boolean;
  /** The UID of its controller. */
  ownerUID?: string;
  /** Kind and name of its controller, such as `ReplicaSet web-6d4f`. */
  owner?: string;
  /** Its PersistentVolumeClaims, by `namespace/name`. */
  claims: readonly string[];
}

/** A budget as the API server has it. */
export interface PlannedBudget {
  disruptionsAllowed: number;
  currentHealthy: number;
  desiredHealthy: number;
  expectedPods?: number;
}

/** What the API server answered to an eviction that was not carried out, for a pod that may not go now. */
export interface TriedEviction {
  pod: PlannedPod;
  /** `namespace/name` of the budget that holds it; undefined: none was named. */
  budget?: string;
  state?: PlannedBudget;
  /** It will never go by asking. */
  refused: boolean;
  message: string;
}

export interface PodsOfPlan {
  /** On nodes of the plan. */
  pods: readonly PlannedPod[];
  /** How many pods each controller has in the whole cluster, by its UID. */
  replicas: ReadonlyMap<string, number>;
  /** Claims whose volume is of one machine; undefined: that could not be read. */
  localClaims: ReadonlySet<string> | undefined;
}

const EFFECTS: readonly RiskEffect[] = ['Refuses', 'Waits', 'Loses', 'Interrupts', 'Notes'];
/** Nodes that get a risk of their own; the others are counted. */
const SINGLE_NODES = 10;
const LONGEST = 950;

/** The worst first; what is alike stays in its order. */
export const sortRisks = (risks: readonly PlanRisk[]): PlanRisk[] =>
  [...risks].sort((one, other) => EFFECTS.indexOf(one.effect) - EFFECTS.indexOf(other.effect));

export const risk = (effect: RiskEffect, reason: PlanRisk['reason'], count: number, message: string): PlanRisk => ({
  effect,
  reason,
  count,
  message: message.slice(0, LONGEST),
});

/** The pods that a drain of their node would evict. */
export const evictedOf = (pods: readonly PlannedPod[], options: DrainOptions, atMs: number): PlannedPod[] =>
  pods.filter((pod) => decideDrain(pod, options, atMs).action === 'evict');

/**
 * The pods whose eviction is worth trying: one of each controller, ready and not ready ones apart, since pods of one
 * controller have the same labels, and so the same budget; and each that has none.
 */
export function worthTrying(pods: readonly PlannedPod[]): PlannedPod[] {
  const one = new Map<string, PlannedPod>();
  for (const pod of pods) {
    const key = likeness(pod);
    if (!pod.deleting && !one.has(key)) one.set(key, pod);
  }
  return [...one.values()];
}

/** What pods have in common for which an eviction is answered alike. */
const likeness = ({ namespace, ownerUID, uid, ready }: PlannedPod) =>
  `${namespace}/${ownerUID ?? uid}/${ownerUID === undefined || ready}`;

const keyOf = ({ namespace, name }: DrainPod) => `${namespace}/${name}`;
const namesOf = (pods: readonly PlannedPod[]) => listed(pods.map((pod) => `${keyOf(pod)} on ${pod.node}`));
const many = (count: number, what: string) => (count === 1 ? `1 ${what}` : `${count} ${what}s`);

/** What the drains of the plan would meet, do and break, as far as the pods tell that are there now. */
export function podRisks(
  { pods, replicas, localClaims }: PodsOfPlan,
  tried: readonly TriedEviction[],
  options: DrainOptions & { timeoutMs: number },
  atMs: number,
): PlanRisk[] {
  const evicted = evictedOf(pods, options, atMs);
  const bound = evicted.filter((pod) => pod.claims.some((claim) => localClaims?.has(claim) === true));
  return [
    ...refusedDrains(pods, options, atMs),
    ...heldByBudgets(evicted, tried, options),
    ...unmanaged(evicted),
    ...localVolumes(bound),
    ...emptyDirs(evicted),
    ...single(
      evicted.filter((pod) => !bound.includes(pod)),
      replicas,
    ),
  ];
}

/** Why each node's drain would be refused, by its name. */
export function refusalsByNode(pods: readonly PlannedPod[], options: DrainOptions, atMs: number): Map<string, string> {
  const byNode = Map.groupBy(pods, ({ node }) => node);
  return new Map(
    [...byNode].flatMap(([node, its]): [string, string][] => {
      const refusal = drainRefusal(its, options, atMs);
      return refusal === undefined ? [] : [[node, refusal]];
    }),
  );
}

function refusedDrains(pods: readonly PlannedPod[], options: DrainOptions, atMs: number): PlanRisk[] {
  const refused = [...refusalsByNode(pods, options, atMs)].map(
    ([node, why]) => [node, `its drain would refuse ${why}`] as const,
  );
  return eachNode('Refuses', 'NodeRefused', refused, 'would end as Failed, untouched');
}

/** One risk for each of the first nodes, and one for all others together. */
export function eachNode(
  effect: RiskEffect,
  reason: PlanRisk['reason'],
  nodes: readonly (readonly [node: string, why: string])[],
  outcome: string,
): PlanRisk[] {
  const first = nodes
    .slice(0, SINGLE_NODES)
    .map(([node, why]) => risk(effect, reason, 1, `${node} ${outcome}: ${why}`));
  const rest = nodes.slice(SINGLE_NODES);
  if (rest.length === 0) return first;
  const names = listed(rest.map(([node]) => node));
  return [...first, risk(effect, reason, rest.length, `${many(rest.length, 'more node')} ${outcome}: ${names}`)];
}

function heldByBudgets(
  evicted: readonly PlannedPod[],
  tried: readonly TriedEviction[],
  { drain, timeoutMs }: DrainOptions & { timeoutMs: number },
): PlanRisk[] {
  const alike = Map.groupBy(evicted, likeness);
  const podsOf = (answers: readonly TriedEviction[]) => answers.flatMap(({ pod }) => alike.get(likeness(pod)) ?? [pod]);
  const refused = tried.filter((answer) => answer.refused);
  const held = tried.filter((answer) => !answer.refused);
  const deadline = `its drain waits for at most ${formatDuration(timeoutMs)}, then strategy.drain.onTimeout: ${drain.onTimeout} decides`;
  return [
    ...[...Map.groupBy(held, ({ budget }) => budget)].map(([budget, answers]) => {
      const pods = podsOf(answers);
      const said =
        budget === undefined ? answers[0]?.message : `PodDisruptionBudget ${budget} ${allowance(answers[0]?.state)}`;
      return risk('Waits', 'BudgetBlocks', pods.length, `${said ?? ''}: ${namesOf(pods)}; ${deadline}`);
    }),
    ...refused.map((answer) => {
      const pods = podsOf([answer]);
      return risk('Refuses', 'EvictionRefused', pods.length, `${answer.message} (${namesOf(pods)})`);
    }),
  ];
}

function allowance(state: PlannedBudget | undefined): string {
  if (state === undefined) return 'allows no disruption now';
  const { currentHealthy, desiredHealthy, expectedPods } = state;
  const counted = `${currentHealthy} healthy, ${desiredHealthy} needed`;
  return expectedPods !== undefined && desiredHealthy >= expectedPods
    ? `never allows a disruption (${counted}, of ${expectedPods}): let it do with one pod less, or run one more`
    : `allows no disruption now (${counted}): it will when the others are healthy`;
}

function unmanaged(evicted: readonly PlannedPod[]): PlanRisk[] {
  const pods = evicted.filter(({ ownerKind }) => ownerKind === undefined);
  if (pods.length === 0) return [];
  const text = `${many(pods.length, 'pod')} without a controller would be evicted (strategy.drain.force), and nobody makes them again: ${namesOf(pods)}`;
  return [risk('Loses', 'UnmanagedPods', pods.length, text)];
}

function localVolumes(pods: readonly PlannedPod[]): PlanRisk[] {
  if (pods.length === 0) return [];
  const text = `${many(pods.length, 'pod')} with a volume of their node only: no other node can run them, they are down until it is back. The volume stays: ${namesOf(pods)}`;
  return [risk('Interrupts', 'LocalVolumes', pods.length, text)];
}

function emptyDirs(evicted: readonly PlannedPod[]): PlanRisk[] {
  const pods = evicted.filter(({ hasEmptyDir }) => hasEmptyDir);
  if (pods.length === 0) return [];
  const text = `the emptyDir data of ${many(pods.length, 'pod')} goes with the eviction (strategy.drain.deleteEmptyDirData: false would refuse the node): ${namesOf(pods)}`;
  return [risk('Loses', 'EmptyDirData', pods.length, text)];
}

function single(evicted: readonly PlannedPod[], replicas: ReadonlyMap<string, number>): PlanRisk[] {
  const pods = evicted.filter(({ ownerUID }) => ownerUID !== undefined && (replicas.get(ownerUID) ?? 0) <= 1);
  if (pods.length === 0) return [];
  const names = listed(pods.map((pod) => `${keyOf(pod)} (${pod.owner ?? 'its controller'}) on ${pod.node}`));
  const text = `${many(pods.length, 'workload')} with a single pod: down from its eviction until another node runs it: ${names}`;
  return [risk('Interrupts', 'SingleReplica', pods.length, text)];
}
