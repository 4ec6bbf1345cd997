import type { Blocker, BlockerReason } from '../api/types.ts';

/** What the API server says of a disruption budget. */
export interface BudgetState {
  disruptionsAllowed: number;
  currentHealthy: number;
  desiredHealthy: number;
  /** Absent: IfHealthyBudget, the default of Kubernetes. */
  unhealthyPodEvictionPolicy?: string;
}

export interface BlockedPod {
  namespace: string;
  name: string;
  ready: boolean;
  labels: Readonly<Record<string, string>>;
}

/** How many blockers a KairosNode lists. */
export const LISTED_BLOCKERS = 20;

/** What is said of a pod that a disruption budget holds, and what lets it go. `state`: absent where it is not known. */
export function heldByBudget(
  pod: BlockedPod,
  budget: string,
  state: BudgetState | undefined,
): Omit<Blocker, 'since' | 'pod'> {
  const hints = [storageHint(pod.labels), unhealthyHint(pod, state)].filter((hint) => hint !== undefined);
  const allows =
    state === undefined
      ? ''
      : `, which allows ${disruptions(state.disruptionsAllowed)} (${state.currentHealthy} healthy, ${state.desiredHealthy} needed)`;
  return {
    reason: 'Budget',
    budget: `${pod.namespace}/${budget}`,
    ...(state === undefined ? {} : { disruptionsAllowed: state.disruptionsAllowed }),
    message: [`held by PodDisruptionBudget ${budget}${allows}`, ...hints].join('; '),
  };
}

const disruptions = (count: number) => (count === 1 ? '1 disruption' : `${count} disruptions`);

/** Such a pod serves nobody, and by default its budget holds it nevertheless. */
function unhealthyHint({ ready }: BlockedPod, state: BudgetState | undefined): string | undefined {
  if (ready || state === undefined || state.unhealthyPodEvictionPolicy === 'AlwaysAllow') return undefined;
  return 'the pod is not Ready: with unhealthyPodEvictionPolicy: AlwaysAllow in the budget it could go';
}

/** Budgets that storage makes by itself: they open when data is safe elsewhere, and are not for people to change. */
function storageHint(labels: Readonly<Record<string, string>>): string | undefined {
  if (labels['longhorn.io/component'] === 'instance-manager')
    return 'it is the instance manager of Longhorn, which serves the volumes of this node: it may go once their replicas are healthy elsewhere (Longhorn setting node-drain-policy)';
  if (labels['app'] === 'rook-ceph-osd')
    return 'it is an OSD of Ceph: its budget opens when all placement groups are clean (ceph status)';
  return undefined;
}

/** The text of a step, for the first of the pods that have not left; they come in the order in which they were seen. */
export function blockersText(blockers: readonly Blocker[], count: number): string {
  const [first] = blockers;
  if (first === undefined) return 'moving its pods to other nodes';
  const more = count > 1 ? `; ${count - 1} more, see status.blockers` : '';
  return `${blockerText(first)}${more}${WAITS[first.reason]}`;
}

const WAITS: Record<BlockerReason, string> = {
  Budget: '; asking again',
  SeveralBudgets: '; asking again',
  NamespaceTerminating: '; asking again',
  Completing: '; waiting',
  Terminating: '; waiting',
  VolumeAttached: '; waiting',
};

/** One blocker in a sentence, with the time since when it is one. */
export const blockerText = ({ pod, reason, message, since }: Blocker): string =>
  `${reason === 'VolumeAttached' ? 'claim' : 'pod'} ${pod} is ${message} (since ${since})`;
