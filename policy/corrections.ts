import type { KairosNodeStatus, NodeOpUpgrade, RolloutStatus, Verdict } from '../api/types.ts';
import { sameAttempt } from './recovery.ts';

/** A verdict that evidence which came late has changed. */
export interface Correction {
  name: string;
  was: Verdict;
  now: Verdict;
}

type LastAttempt = KairosNodeStatus['lastAttempt'];

/**
 * Which of the nodes that a rollout names as failed have another verdict by now, as their KairosNodes say, or as was
 * noted before. Only of the attempt that the rollout is about: a later attempt at a node says nothing about this one.
 */
export function correctionsOf(
  { metadata }: NodeOpUpgrade,
  rollout: RolloutStatus | undefined,
  lastAttemptOf: (node: string) => LastAttempt,
): Correction[] {
  if (rollout === undefined) return [];
  const { generation, attempt } = rollout;
  const request = { uid: metadata.uid ?? '', name: metadata.name, generation, attempt };
  return (rollout.failed ?? []).flatMap(({ name, verdict, correctedTo }) => {
    const last = lastAttemptOf(name);
    const now = last !== undefined && sameAttempt(last.request, request) ? last.verdict : correctedTo;
    return now === undefined || now === verdict ? [] : [{ name, was: verdict, now }];
  });
}

/** The list of failed nodes with the corrections noted, or undefined where it says all of them already. */
export function noteCorrections(
  rollout: RolloutStatus,
  corrections: readonly Correction[],
): RolloutStatus['failed'] | undefined {
  const now = new Map(corrections.map((correction) => [correction.name, correction.now]));
  const { failed = [] } = rollout;
  if (failed.every(({ name, correctedTo }) => correctedTo === now.get(name))) return undefined;
  return failed.map(({ name, verdict, message }) => {
    const correctedTo = now.get(name);
    return {
      name,
      verdict,
      ...(message === undefined ? {} : { message }),
      ...(correctedTo === undefined ? {} : { correctedTo }),
    };
  });
}

/** Nodes that a sentence names. */
const NAMED = 10;

/** The corrections in a sentence. */
export function correctionsText(corrections: readonly Correction[]): string {
  const named = corrections.slice(0, NAMED).map(({ name, was, now }) => `${name} was ${was}, is ${now}`);
  const more = corrections.length > NAMED ? `, and ${corrections.length - NAMED} more` : '';
  return `${named.join('; ')}${more}`;
}

/** Counts of verdicts with the corrections in them. */
export function correctedCounts(
  verdicts: Readonly<Record<string, number>>,
  corrections: readonly Correction[],
): Record<string, number> {
  const counts = { ...verdicts };
  for (const { was, now } of corrections) {
    // A verdict that was never counted, as by a rollout that was terminated, cannot be taken back.
    if ((counts[was] ?? 0) === 0) continue;
    counts[was] = (counts[was] ?? 0) - 1;
    counts[now] = (counts[now] ?? 0) + 1;
  }
  return counts;
}
