import { PART_OF_LABELS } from '../api/names.ts';

/** What a drain needs to know of a pod. */
export interface DrainPod {
  namespace: string;
  name: string;
  labels: Readonly<Record<string, string>>;
  phase: string;
  deleting: boolean;
  mirror: boolean;
  ownerKind?: string;
  hasEmptyDir: boolean;
}

export type DrainDecision = { action: 'evict' } | { action: 'leave' } | { action: 'refuse'; reason: string };

/**
 * What a drain does with a pod, as `kubectl drain --ignore-daemonsets` would: pods of DaemonSets, mirror pods and
 * pods that have ended stay; pods of the operator's own steps and of the operator stay, as do those of a Temporal that
 * was installed by its own chart, which tolerate a cordon and would come straight back; a pod that nobody would make
 * again is refused. A pod that is being deleted already is only waited for: refusing would save nothing of it.
 */
export function decideDrain(pod: DrainPod, options: { deleteEmptyDirData: boolean; stepLabel: string }): DrainDecision {
  if (pod.mirror || pod.ownerKind === 'DaemonSet' || pod.phase === 'Succeeded' || pod.phase === 'Failed')
    return { action: 'leave' };
  if (options.stepLabel in pod.labels || PART_OF_LABELS.some((label) => pod.labels[label] === 'kairos-operator'))
    return { action: 'leave' };
  const name = `${pod.namespace}/${pod.name}`;
  if (pod.ownerKind === undefined && !pod.deleting) {
    return { action: 'refuse', reason: `pod ${name} has no controller and would be lost: delete it, or give it one` };
  }
  if (pod.hasEmptyDir && !pod.deleting && !options.deleteEmptyDirData) {
    return {
      action: 'refuse',
      reason: `pod ${name} keeps data in an emptyDir: move the data, or allow strategy.drain.deleteEmptyDirData`,
    };
  }
  return { action: 'evict' };
}
