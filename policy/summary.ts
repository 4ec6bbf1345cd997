import type {
  Blocker,
  KairosNodeStatus,
  NodeOpUpgrade,
  NodeOpUpgradeStatus,
  RolloutPhase,
  RolloutStatus,
  Verdict,
} from '../api/types.ts';
import { blockerText } from './drain-blockers.ts';
import { conditionsOf, type Around, type EngineHealth } from './conditions.ts';
import { correctedCounts, correctionsOf } from './corrections.ts';
import { isFinal } from './engine.ts';
import { type Measured, measuredMs } from './estimate.ts';
import { waitsAtGate } from './gates.ts';
import { nodeStatuses } from './node-statuses.ts';
import { byName } from './order.ts';
import { isDone, isFailure } from './placement.ts';
import { type Ended, currentWave, etaOf } from './progress.ts';

const LISTED = 100;

export interface SummarizedNode {
  name: string;
  status: KairosNodeStatus;
}

/** What an estimate needs of the cluster beyond the nodes of the rollout. */
export interface Surroundings {
  isControlPlane: (node: string) => boolean;
  /** Upgrades of other rollouts that went well. Asked only where this one has none of its own. */
  measuredBefore: () => readonly Measured[];
}

/**
 * The part of a NodeOpUpgrade's status that the watcher writes: counts and nodes in flight from the KairosNodes, the
 * phase and the end from `status.rollout`, which the rollout writes, and the conditions. `nodes` are those whose status
 * names the rollout. Nodes that wait at a gate are listed behind those in hand, and not counted: they are in service.
 */
export function summarize(
  upgrade: NodeOpUpgrade,
  nodes: readonly SummarizedNode[],
  engine: EngineHealth,
  around: Pick<Around, 'atMs' | 'inTheWay'> & Partial<Surroundings>,
): Omit<NodeOpUpgradeStatus, 'rollout' | 'plan' | 'history' | 'lastUpdated'> {
  const generation = upgrade.metadata.generation ?? 0;
  const rollout = upgrade.status?.rollout?.generation === generation ? upgrade.status.rollout : undefined;
  const inFlight = nodes.filter((node) => node.status.upgradeState === 'InProgress').sort(byName);
  const waiting = nodes.filter((node) => waitsAtGate(node.status)).sort(byName);
  const ended = nodes.filter(
    ({ status }) => status.upgradeState !== 'InProgress' && endedIn(status, upgrade, rollout?.attempt),
  );
  const byNameOf = new Map(nodes.map(({ name, status }) => [name, status.lastAttempt]));
  const corrections = correctionsOf(upgrade, rollout, (name) => byNameOf.get(name));
  const { done: countedDone, failed: countedFailed } = sumOf(correctedCounts(rollout?.verdicts ?? {}, corrections));
  const count = (failure: boolean) =>
    ended.filter(
      ({ status }) =>
        status.lastAttempt !== undefined &&
        (failure ? isFailure(status.lastAttempt.verdict) : isDone(status.lastAttempt.verdict)),
    ).length;
  const total = rollout?.total ?? 0;
  // Nodes that people left out are no failures.
  const leftOut = new Set(rollout?.skipped?.map(({ name }) => name));
  const leftOutByNode = ended.filter(
    ({ name, status }) => status.lastAttempt?.verdict === 'Skipped' && leftOut.has(name),
  ).length;
  const [endedDone, endedFailed] = [count(false), count(true)];
  const done = Math.max(countedDone, endedDone);
  const counted = {
    ...said(upgrade, rollout, engine, inFlight.length),
    nodes: {
      total,
      done,
      inFlight: inFlight.length,
      failed: Math.max(countedFailed - leftOut.size, endedFailed - leftOutByNode, 0),
      summary: `${done}/${total}`,
    },
  };
  const lastEndedAt = ended
    .map(({ status }) => status.lastAttempt?.finishedAt ?? '')
    .sort()
    .at(-1);
  const { plan: planned, eta: known } = upgrade.status ?? {};
  const plan = planned?.generation === generation ? planned : undefined;
  const wave = currentWave(
    rollout,
    plan,
    { done: endedDone, failed: endedFailed },
    { done: countedDone, failed: countedFailed },
    rollout?.verdictsBefore === undefined ? undefined : sumOf(rollout.verdictsBefore),
  );
  const measured = ended.flatMap(({ name, status }) => {
    const ms = measuredMs(status.lastAttempt);
    return ms === undefined ? [] : [{ ms, controlPlane: around.isControlPlane?.(name) ?? false }];
  });
  const before = measured.length > 0 ? [] : (around.measuredBefore?.() ?? []);
  const eta = etaOf({ rollout, plan, wave, inHand: inFlight, measured, before, known, atMs: around.atMs });
  const { entries, leftOut: unlisted } = nodeStatuses(nodes, ended, leftOut);
  return {
    ...counted,
    wave,
    eta,
    nodeStatuses: entries,
    nodeStatusesLeftOut: unlisted,
    observedGeneration: generation,
    inFlight: [...inFlight, ...waiting].slice(0, LISTED).map(({ name, status }) => ({
      name,
      ...(status.step === undefined ? {} : { step: status.step }),
      ...(status.stepSince === undefined ? {} : { since: status.stepSince }),
      ...(status.message === undefined ? {} : { message: status.message.slice(0, 1024) }),
      ...blocked(status),
    })),
    conditions: conditionsOf(upgrade, rollout, counted, engine, { ...around, lastEndedAt, corrections }),
  };
}

/** How many nodes with these verdicts are done, and how many have failed. */
function sumOf(verdicts: Readonly<Record<string, number>>): Ended {
  const counts = Object.entries(verdicts) as [Verdict, number][];
  const sum = (is: (verdict: Verdict) => boolean) =>
    counts.reduce((all, [verdict, n]) => (is(verdict) ? all + n : all), 0);
  return { done: sum(isDone), failed: sum(isFailure) };
}

/** What keeps a node's drain: the first of its blockers, and how many pods have not left. */
function blocked({ blockers = [], blockedPods }: KairosNodeStatus) {
  const [first]: Blocker[] = blockers;
  return {
    ...(first === undefined ? {} : { blocker: blockerText(first).slice(0, 1500) }),
    ...(blockedPods === undefined || blockedPods === 0 ? {} : { blockedPods }),
  };
}

function said(
  { status }: NodeOpUpgrade,
  rollout: RolloutStatus | undefined,
  engine: EngineHealth,
  inHand: number,
): { phase: RolloutPhase; message: string } {
  if (rollout !== undefined) return { phase: rollout.phase, message: rollout.message ?? '' };
  if (status?.rollout !== undefined && !isFinal(status.rollout.phase)) {
    const message = `the spec was edited: the attempt for the earlier one is being cancelled, ${inHand} nodes are still in hand; then this one starts`;
    return { phase: 'Cancelling', message };
  }
  return { phase: 'Pending', message: engine.reachable ? 'waiting for its rollout to start' : engine.message };
}

/** Whether a node's last attempt belongs to the present attempt of this resource, not to an earlier one of its name. */
function endedIn({ lastAttempt }: KairosNodeStatus, { metadata }: NodeOpUpgrade, attempt: number | undefined): boolean {
  const request = lastAttempt?.request;
  return (
    request !== undefined &&
    request.uid === metadata.uid &&
    request.generation === metadata.generation &&
    request.attempt === attempt
  );
}
