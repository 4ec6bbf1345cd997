/** One thing that a person should read about an object: what happened, why, and where it is not well, what to do. */
export interface Notice {
  /** The same for the same thing, however often it is seen and by whom: what was said is not said again. */
  key: string;
  type: 'Normal' | 'Warning';
  /** In CamelCase; docs/diagnosis.md lists them. */
  reason: string;
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
