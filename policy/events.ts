import type { Verdict } from '../api/types.ts';

/** Why an Event is written, besides the verdicts, whose reason is the verdict. All of them are in docs/diagnosis.md. */
export const REASONS = [
  'TakenInHand',
  'DrainBlocked',
  'NothingEvicted',
  'PodsDeleted',
  'VolumesAttached',
  'Drained',
  'UpgradeSlow',
  'ImageWritten',
  'RebootForced',
  'Rebooted',
  'PullFailing',
  'GivenBack',
  'Recovered',
  'VerdictCorrected',
  'Started',
  'WaveStarted',
  'Paused',
  'Resumed',
  'Cancelling',
  'NodeFailed',
  'Completed',
  'Planned',
  'Waiting',
  'NotStarted',
  'ApprovalNeeded',
  'RequestAccepted',
  'RequestRefused',
  'RequestWaits',
  'TemporalUnreachable',
  'TemporalReturned',
] as const;

/** One thing that a person should read about an object: what happened, why, and where it is not well, what to do. */
export interface Notice {
  /** The same for the same thing, however often it is seen and by whom: what was said is not said again. */
  key: string;
  type: 'Normal' | 'Warning';
  /** In CamelCase, as Events have it. A rollout ends as `Completed`, `Failed`, `Cancelled` or `Planned`. */
  reason: (typeof REASONS)[number] | Verdict;
  message: string;
  /** When it happened, where the object says so. Without it, it is only said by who has seen it happen. */
  at?: string;
}

/**
 * What is younger than this is said by a watcher that finds it when it begins: less than the hour for which the API
 * server keeps an Event, so that one which was said before is still there, and is found by its name.
 */
const FOUND_MS = 15 * 60_000;

/**
 * What is new between two states of one object; `before` is undefined when the object is seen for the first time, as
 * all are after a restart.
 */
export function freshNotices(before: readonly Notice[] | undefined, now: readonly Notice[], atMs: number): Notice[] {
  if (before === undefined) return now.filter(({ at }) => at !== undefined && atMs - Date.parse(at) < FOUND_MS);
  const known = new Set(before.map(identity));
  return now.filter((notice) => !known.has(identity(notice)));
}

/** What makes two notices about one object the same. */
export const identity = ({ reason, key }: Pick<Notice, 'reason' | 'key'>): string => `${reason}/${key}`;

/** The command that asks for another attempt, as the last words of what failed. */
export function retryCommand(request: { kind: string; namespace: string; name: string }, node: string): string {
  const object =
    request.kind === 'NodeOpUpgrade' ? `-n ${request.namespace} nodeopupgrade ${request.name}` : `kairosnode ${node}`;
  return `kubectl annotate ${object} --overwrite kairos.io/retry="$(date +%s)"`;
}

/** The command that ends a pause, by who made it. */
export function resumeCommand(
  by: 'kubectl' | 'temporal',
  { namespace = '', name, workflowID }: { namespace?: string | undefined; name: string; workflowID: string },
): string {
  return by === 'kubectl'
    ? `kubectl annotate -n ${namespace} nodeopupgrade ${name} kairos.io/pause-`
    : `temporal workflow signal --workflow-id ${workflowID} --name resume --input '{}'`;
}
