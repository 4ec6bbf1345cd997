import type {
  KairosNodeStatus,
  NodeOpUpgrade,
  NodeOpUpgradeStatus,
  RolloutPhase,
  RolloutStatus,
} from '../api/types.ts';
import { conditionsOf, type Around, type EngineHealth } from './conditions.ts';
import { correctedCounts, correctionsOf } from './corrections.ts';
import { isFinal } from './engine.ts';
import { waitsAtGate } from './gates.ts';
import { byName } from './order.ts';
import { isFailure } from './placement.ts';

const LISTED = 100;

export interface SummarizedNode {
  name: string;
  status: KairosNodeStatus;
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
  around: Pick<Around, 'atMs' | 'inTheWay'>,
): Omit<NodeOpUpgradeStatus, 'rollout' | 'lastUpdated'> {
  const generation = upgrade.metadata.generation ?? 0;
  const rollout = upgrade.status?.rollout?.generation === generation ? upgrade.status.rollout : undefined;
  const inFlight = nodes.filter((node) => node.status.upgradeState === 'InProgress').sort(byName);
  const waiting = nodes.filter((node) => waitsAtGate(node.status)).sort(byName);
  const ended = nodes.filter(
    ({ status }) => status.upgradeState !== 'InProgress' && endedIn(status, upgrade, rollout?.attempt),
  );
  const byNameOf = new Map(nodes.map(({ name, status }) => [name, status.lastAttempt]));
  const corrections = correctionsOf(upgrade, rollout, (name) => byNameOf.get(name));
  const written = Object.entries(correctedCounts(rollout?.verdicts ?? {}, corrections)) as [
    Parameters<typeof isFailure>[0],
    number,
  ][];
  const sum = (failure: boolean) =>
    written.reduce(
      (all, [verdict, n]) => (isFailure(verdict) === failure && verdict !== 'Cancelled' ? all + n : all),
      0,
    );
  const count = (failure: boolean) =>
    ended.filter(
      ({ status }) =>
        status.lastAttempt !== undefined &&
        status.lastAttempt.verdict !== 'Cancelled' &&
        isFailure(status.lastAttempt.verdict) === failure,
    ).length;
  const total = rollout?.total ?? 0;
  // Nodes that people left out are no failures.
  const leftOut = rollout?.skipped?.length ?? 0;
  const leftOutByNode = ended.filter(
    ({ name, status }) =>
      status.lastAttempt?.verdict === 'Skipped' && rollout?.skipped?.some((one) => one.name === name),
  ).length;
  const done = Math.max(sum(false), count(false));
  const counted = {
    ...said(upgrade, rollout, engine, inFlight.length),
    nodes: {
      total,
      done,
      inFlight: inFlight.length,
      failed: Math.max(sum(true) - leftOut, count(true) - leftOutByNode, 0),
      summary: `${done}/${total}`,
    },
  };
  const lastEndedAt = ended
    .map(({ status }) => status.lastAttempt?.finishedAt ?? '')
    .sort()
    .at(-1);
  return {
    ...counted,
    observedGeneration: generation,
    inFlight: [...inFlight, ...waiting].slice(0, LISTED).map(({ name, status }) => ({
      name,
      ...(status.step === undefined ? {} : { step: status.step }),
      ...(status.stepSince === undefined ? {} : { since: status.stepSince }),
      ...(status.message === undefined ? {} : { message: status.message.slice(0, 1024) }),
    })),
    conditions: conditionsOf(upgrade, rollout, counted, engine, { ...around, lastEndedAt, corrections }),
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
