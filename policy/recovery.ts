import { HELD_PREFIX } from '../api/names.ts';
import type { KairosNodeStatus, Step, Verdict } from '../api/types.ts';
import { sameVersion, versionOf } from './release.ts';
import { judge } from './verdict.ts';

type InHand = NonNullable<KairosNodeStatus['inHand']>;
type Attempt = NonNullable<KairosNodeStatus['lastAttempt']>;

/** What is left of an upgrade whose workflow is gone, apart from the workflow itself. */
export interface LeftoverEvidence {
  /** The boot in which the node is now. */
  bootID: string;
  /** Boots for which an upgrade Job, or a pod of one, exists. */
  writtenIn: readonly string[];
  inHand?: Pick<InHand, 'bootID'>;
  step?: Step;
}

export type Resumption = { resume: 'giveBack' } | { resume: 'write' | 'recovery'; bootID: string };

/** Steps that are shown only after the point of no return, or right at it. */
const PAST_THE_POINT: ReadonlySet<Step> = new Set(['Upgrade', 'Reboot', 'Verify', 'Soak', 'Uncordon'] as const);

/**
 * How an upgrade without a workflow is finished. Where an image may have been written, it goes on at the writing, in
 * the boot in which that began: the Job of that boot is found again and never runs twice, and in a later boot nothing
 * is written and the node is verified. Where none was, the node is given back.
 */
export function resumeFrom({ bootID, writtenIn, inHand, step }: LeftoverEvidence): Resumption {
  if (inHand !== undefined && step === 'Recovery') return { resume: 'recovery', bootID: inHand.bootID };
  const past = inHand !== undefined && step !== undefined && PAST_THE_POINT.has(step);
  if (past) return { resume: 'write', bootID: inHand.bootID };
  if (inHand !== undefined && writtenIn.includes(inHand.bootID)) return { resume: 'write', bootID: inHand.bootID };
  const written = writtenIn.includes(bootID) ? bootID : writtenIn[0];
  return written === undefined ? { resume: 'giveBack' } : { resume: 'write', bootID: written };
}

/**
 * Whether the end of an upgrade was cut off between its two writes: the mark is gone, the record is missing. Said only
 * where finishing it disturbs nobody: a person may have taken the mark away, and such a node serves. It has rebooted
 * already, or nothing was written.
 */
export function endWasCutOff(
  { owner, bootID }: { owner?: string | undefined; bootID: string },
  { inHand, step }: KairosNodeStatus,
): boolean {
  if (owner !== undefined || inHand === undefined) return false;
  return inHand.bootID !== bootID || step === undefined || !(PAST_THE_POINT.has(step) || step === 'Recovery');
}

/** The verdict for which a mark keeps a node out on purpose, or undefined for any other mark. */
export function heldFor(owner: string | undefined): string | undefined {
  return owner?.startsWith(HELD_PREFIX) === true ? owner.slice(HELD_PREFIX.length) : undefined;
}

/** Verdicts after which this boot must not be written to again: the slot may hold half an image, or one that waits. */
const TOUCHED: ReadonlySet<Verdict> = new Set(['UpgradeFailed', 'NeverRebooted', 'Unverified', 'Lost'] as const);

/**
 * Whether a node that is held must be rebooted and judged before a new attempt may write to it: its image was touched
 * in the boot that it still is in, and an upgrade runs at most once per boot.
 */
export function rebootsFirst(last: Pick<Attempt, 'verdict' | 'bootID'> | undefined, bootID: string): boolean {
  return last !== undefined && last.bootID === bootID && TOUCHED.has(last.verdict);
}

/** Verdicts on a node that may run its target all the same: what was missing may be there now. */
const MAY_SERVE: ReadonlySet<Verdict> = new Set(['Unhealthy', 'NeverRebooted', 'Unverified', 'Lost'] as const);

/**
 * Whether a new attempt at a node that is held verifies it, and lets it soak, instead of writing to it: it was rebooted
 * since its image was written, serves, and reports the version that is wanted, and no new write was asked for (`force`).
 */
export function verifiesFirst(
  last: Pick<Attempt, 'verdict' | 'bootID' | 'version'> | undefined,
  node: { bootID: string; ready: boolean },
  report: Pick<KairosNodeStatus, 'bootID' | 'release'>,
  wanted: { version: string; force: boolean },
): boolean {
  if (last?.bootID === undefined || last.version === undefined || !MAY_SERVE.has(last.verdict)) return false;
  if (wanted.force || !node.ready || node.bootID === last.bootID || report.bootID !== node.bootID) return false;
  const version = report.release === undefined ? undefined : versionOf(report.release);
  return version !== undefined && sameVersion(version, wanted.version) && sameVersion(last.version, wanted.version);
}

/**
 * The verdict that late evidence gives to a node which is held for want of it, or undefined: a Lost node that came
 * back, one that rebooted at last, or whose agent reported at last.
 */
export function lateVerdict(
  owner: string | undefined,
  node: { bootID: string; ready: boolean },
  status: KairosNodeStatus,
): Verdict | undefined {
  const last = status.lastAttempt;
  const held = heldFor(owner);
  if (held !== 'Lost' && held !== 'Unverified' && held !== 'NeverRebooted') return undefined;
  if (last?.bootID === undefined || last.version === undefined || last.verdict !== held) return undefined;
  const target = { version: last.version, ...(last.digest === undefined ? {} : { digest: last.digest }) };
  const from = last.from === undefined ? {} : { from: last.from };
  const judged = judge({ sourceBootID: last.bootID, target, ...from, node, report: status });
  return judged === undefined || judged.verdict === last.verdict ? undefined : judged.verdict;
}

/** Whether two requests are the same attempt of the same resource. */
export function sameAttempt(
  one: { uid: string; generation: number; attempt: number; name: string } | undefined,
  other: { uid: string; generation: number; attempt: number; name: string },
): boolean {
  return (
    one !== undefined &&
    one.uid === other.uid &&
    one.name === other.name &&
    one.generation === other.generation &&
    one.attempt === other.attempt
  );
}

/** What of a request is kept with a node. */
export function tryOf({
  kind,
  namespace,
  name,
  uid,
  generation,
  attempt,
  try: number,
}: NonNullable<Attempt['request']>): NonNullable<Attempt['request']> {
  return { kind, namespace, name, uid, generation, attempt, ...(number === undefined ? {} : { try: number }) };
}

/**
 * Whether two requests are the same try of the same attempt. What a node ended as in an earlier try does not answer the
 * present one, which a person asked for: to the node that is as good as a new attempt.
 */
export function sameTry(
  one: (Parameters<typeof sameAttempt>[1] & { try?: number | undefined }) | undefined,
  other: Parameters<typeof sameAttempt>[1] & { try?: number | undefined },
): boolean {
  return one !== undefined && sameAttempt(one, other) && one.try === other.try;
}
