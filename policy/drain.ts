import { PART_OF_LABELS, STEP_LABEL } from '../api/names.ts';
import type { DrainSpec, RolloutSpec } from '../api/rollout-spec.ts';
import { matches } from './selector.ts';

/** What a drain needs to know of a pod. */
export interface DrainPod {
  namespace: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  phase: string;
  deleting: boolean;
  /** When it should be gone, its grace period included (RFC 3339); absent where it is not being deleted. */
  deletionTimestamp?: string;
  mirror: boolean;
  ownerKind?: string;
  hasEmptyDir: boolean;
}

export type DrainOptions = Pick<RolloutSpec, 'deleteEmptyDirData'> & { drain: DrainSpec };

export type DrainDecision =
  { action: 'evict' } | { action: 'leave' } | { action: 'refuse'; because: 'NoController' | 'EmptyDir' };

/** As drains were before histories said more of them. */
const FORMER: DrainSpec = { force: false, volumeDetachMs: 0, onTimeout: 'Fail', overridableBudgets: [] };

/** How a rollout drains; its spec may come from an old history. */
export const drainOf = ({ drain, deleteEmptyDirData }: RolloutSpec): DrainOptions => ({
  deleteEmptyDirData,
  drain: drain ?? FORMER,
});

/**
 * What a drain does with a pod, as `kubectl drain --ignore-daemonsets` would: pods of DaemonSets, mirror pods and
 * pods that have ended stay, as do those that a pod selector does not match; pods of the operator's own steps and of the
 * operator stay, and those of a Temporal that was installed by its own chart, which tolerate a cordon and would come
 * straight back; a pod that nobody would make again is refused, unless forced. A pod that is being deleted already is
 * only waited for: refusing would save nothing of it. One that should have been gone for long is not even waited for,
 * where the strategy says so.
 */
export function decideDrain(pod: DrainPod, { deleteEmptyDirData, drain }: DrainOptions, atMs: number): DrainDecision {
  if (pod.mirror || pod.ownerKind === 'DaemonSet' || hasEnded(pod)) return { action: 'leave' };
  if (STEP_LABEL in pod.labels || PART_OF_LABELS.some((label) => pod.labels[label] === 'kairos-operator'))
    return { action: 'leave' };
  if (!matches(drain.podSelector, pod.labels)) return { action: 'leave' };
  if (pod.deleting) return atMs >= waitedForUntilMs(pod, drain) ? { action: 'leave' } : { action: 'evict' };
  if (pod.ownerKind === undefined && !drain.force) return { action: 'refuse', because: 'NoController' };
  if (pod.hasEmptyDir && !deleteEmptyDirData) return { action: 'refuse', because: 'EmptyDir' };
  return { action: 'evict' };
}

export const hasEnded = ({ phase }: Pick<DrainPod, 'phase'>): boolean => phase === 'Succeeded' || phase === 'Failed';

/** Until when a pod that is being deleted is waited for; for ever without `skipWaitForDeleteTimeout`. */
export function waitedForUntilMs({ deletionTimestamp }: DrainPod, { skipWaitForDeleteMs }: DrainSpec): number {
  const dueMs = Date.parse(deletionTimestamp ?? '');
  return skipWaitForDeleteMs === undefined || Number.isNaN(dueMs) ? Infinity : dueMs + skipWaitForDeleteMs;
}

/** Whether a pod ends by itself, and is waited for before it is evicted. */
export function mayComplete(pod: DrainPod, { completion }: DrainSpec): boolean {
  if (completion === undefined) return false;
  return completion.podSelector === undefined ? pod.ownerKind === 'Job' : matches(completion.podSelector, pod.labels);
}

const NAMED = 10;

const REFUSALS = [
  [
    'NoController',
    'without a controller, which nobody would make again',
    'delete them, give them one, or set strategy.drain.force: true',
  ],
  [
    'EmptyDir',
    'with data in an emptyDir',
    'move the data, or set strategy.drain.deleteEmptyDirData: true, which deletes it',
  ],
] as const;

/** All pods that a drain of the node refuses and what to do, in one sentence, or undefined where it refuses none. */
export function drainRefusal(pods: Iterable<DrainPod>, options: DrainOptions, atMs: number): string | undefined {
  const refused = [...pods].map((pod) => ({ pod, decision: decideDrain(pod, options, atMs) }));
  const parts = REFUSALS.flatMap(([because, which, next]) => {
    const names = refused
      .filter(({ decision }) => decision.action === 'refuse' && decision.because === because)
      .map(({ pod }) => `${pod.namespace}/${pod.name}`)
      .sort();
    if (names.length === 0) return [];
    return [`${names.length === 1 ? 'a pod' : `${names.length} pods`} ${which}: ${listed(names)} (${next})`];
  });
  return parts.length === 0 ? undefined : parts.join('; ');
}

/** Names with commas between them, ten at most. */
export const listed = (names: readonly string[]): string =>
  `${names.slice(0, NAMED).join(', ')}${names.length > NAMED ? ` and ${names.length - NAMED} more` : ''}`;
