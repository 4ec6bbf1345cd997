import type { DrainSpec } from '../api/rollout-spec.ts';

/** A pod that is still on its node at the drain's deadline. */
export interface LeftPod {
  namespace: string;
  name: string;
  ready: boolean;
  /** Terminating: it is being deleted already. Held: the API server refused to evict it. */
  state: 'Terminating' | 'Held';
  /** Names of the budgets that hold it, in its namespace; none: they are not known. */
  budgets: readonly string[];
}

export type Rung<Pod extends LeftPod> =
  /** The node is given back; `why` is set where a deletion was asked for and may not be. */
  | { rung: 'Fail'; why?: string }
  | { rung: 'Skip' }
  /** These are deleted, and all that is left is waited for once more. */
  | { rung: 'Delete'; pods: Pod[] };

/**
 * What the strategy does at the deadline of a drain. All or nothing: where one pod may not be deleted, none is, since
 * the node would be given back all the same and the others would have been deleted for no use.
 */
export function decideRung<Pod extends LeftPod>(left: readonly Pod[], drain: DrainSpec): Rung<Pod> {
  switch (drain.onTimeout) {
    case 'Fail':
      return { rung: 'Fail' };
    case 'Skip':
      return { rung: 'Skip' };
    case 'Delete':
    case 'DeleteUnhealthy': {
      const held = left.filter(({ state }) => state === 'Held');
      const kept = held.flatMap((pod) => keptBecause(pod, drain) ?? []);
      return kept[0] === undefined ? { rung: 'Delete', pods: held } : { rung: 'Fail', why: kept[0] };
    }
  }
}

/** Why a pod may not be deleted, or undefined where it may. */
function keptBecause(pod: LeftPod, { onTimeout, overridableBudgets }: DrainSpec): string | undefined {
  const name = `pod ${pod.namespace}/${pod.name}`;
  if (onTimeout === 'DeleteUnhealthy' && pod.ready)
    return `${name} is Ready, and onTimeout: DeleteUnhealthy deletes only pods that are not: nothing was deleted`;
  if (overridableBudgets.length === 0) return undefined;
  const isListed = (budget: string) =>
    overridableBudgets.some(({ namespace, name }) => namespace === pod.namespace && name === budget);
  if (pod.budgets.length > 0 && pod.budgets.every(isListed)) return undefined;
  const by = pod.budgets.length === 0 ? 'what holds it' : `PodDisruptionBudget ${pod.budgets.join(', ')}`;
  return `${name}: ${by} is not among strategy.drain.overridableBudgets: nothing was deleted`;
}
