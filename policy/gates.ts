import type { KairosNodeStatus } from '../api/types.ts';
import { heldFor } from './recovery.ts';

/**
 * What a node may have to wait for before it is taken out of service. docs/gates.md describes each. `WaveSoak` is not
 * asked of a node: it names the one that keeps the soak of its wave from ending.
 */
export type Gate =
  | 'WaveSoak'
  | 'Window'
  | 'Ready'
  | 'Owner'
  | 'Cordon'
  | 'Pressure'
  | 'Report'
  | 'Image'
  | 'Lease'
  | 'Quorum'
  | 'Budget'
  | 'Health';

/** A gate that is closed: which one, on whom or what it waits, since when, and what to type where that helps. */
export interface ClosedGate {
  gate: Gate;
  reason: string;
  /** When it opens by itself, in milliseconds: the time until then does not count for the deadline of the gates. */
  opensAtMs?: number;
  /** It opens by itself: the deadline of the gates does not count meanwhile. */
  endsByItself?: true;
  /** A deadline of its own, in the place of that of all gates, and whose that is. */
  deadline?: { of: string; ms: number };
}

/** A Node as far as it decides whether it can be taken out. Times are those that the API server has. */
export interface GatedNode {
  name: string;
  bootID: string;
  ready: boolean;
  notReadySince?: string;
  owner?: string;
  unschedulable: boolean;
  cordonedSince?: string;
  /** Pressure conditions that are True. */
  pressures: readonly string[];
  pressuresSince?: Readonly<Record<string, string>>;
}

const since = (time: string | undefined) => (time === undefined ? '' : ` since ${time}`);

/**
 * Why a node itself cannot be taken out now, or undefined.
 * @param ours whether the mark that it carries gives way, and with it the cordon
 * @param rollout whose hand it is in: the mark names the node's workflow only, which is the same for every rollout
 */
export function closedNode(node: GatedNode, ours: boolean, rollout?: string): ClosedGate | undefined {
  const { name, owner } = node;
  if (!node.ready)
    return {
      gate: 'Ready',
      reason: `node ${name} is not Ready${since(node.notReadySince)}: kubectl describe node ${name}`,
    };
  if (owner !== undefined && !ours) {
    const hand = heldFor(owner) === undefined ? rollout : undefined;
    return {
      gate: 'Owner',
      reason: `node ${name} is out already: ${hand === undefined ? owner : `${hand} has it in hand`}`,
    };
  }
  if (node.unschedulable && !ours)
    return {
      gate: 'Cordon',
      reason: `node ${name} is cordoned by somebody else${since(node.cordonedSince)}: kubectl uncordon ${name} when it may be upgraded`,
    };
  if (node.pressures.length === 0) return undefined;
  const pressures = node.pressures.map((pressure) => `${pressure}${since(node.pressuresSince?.[pressure])}`);
  return { gate: 'Pressure', reason: `node ${name} has ${pressures.join(', ')}: kubectl describe node ${name}` };
}

/** Whether the agent has reported from the boot in which its node is now: what it said before may not hold any more. */
export function closedReport(
  { name, bootID }: Pick<GatedNode, 'name' | 'bootID'>,
  report: { bootID?: string | undefined; reportedAt?: string | undefined } | undefined,
): ClosedGate | undefined {
  if (report?.bootID === bootID) return undefined;
  const last = report?.reportedAt === undefined ? '' : `, its last report is of ${report.reportedAt}`;
  return {
    gate: 'Report',
    reason: `node ${name}: its agent has not reported from this boot${last}: kubectl get pods -A -o wide --field-selector spec.nodeName=${name} -l app.kubernetes.io/name=kairos-agent`,
  };
}

/**
 * The budget has no place: who takes it.
 * @param own whether one of them is in the hand of the rollout that asks: that ends by itself, and makes place, so to
 *   wait for it is no reason to give a node up
 */
export const closedBudget = (rivals: readonly string[], own = false): ClosedGate => ({
  gate: 'Budget',
  reason: `budget taken: out are ${rivals.slice(0, 5).join(', ')}${rivals.length > 5 ? ` and ${rivals.length - 5} more` : ''}`,
  ...(own ? { endsByItself: true } : {}),
});

/**
 * Why nothing of a wave is started any more: nodes that its rollout has not in hand have taken its whole budget until the
 * deadline of the gates. The next node would wait for the same ones just as long, and so would each after it.
 */
export const budgetTakenText = ({ reason }: ClosedGate, waited: string): string =>
  `BudgetTaken: in ${waited} no node could be started: ${reason.replace(/^budget taken: /, '')}, which this rollout has not in hand: kubectl get nodes; bring them back to service, or raise maxUnavailable, then try again`;

/** Etcd would lose its majority without the node: which members there are, and what is missing. */
export const closedQuorum = (reason: string): ClosedGate => ({
  gate: 'Quorum',
  reason: `${reason}: kubectl get nodes -l node-role.kubernetes.io/control-plane`,
});

/** How a KairosNode says that its node waits. */
export const waitingText = ({ gate, reason }: ClosedGate) => `waiting at the gate ${gate}: ${reason}`;

/** The gate of such a message. */
export const gateIn = (message: string | undefined) => /^waiting at the gate (\w+): /.exec(message ?? '')?.[1];

/** Whether a node waits at a gate: it is in nobody's hand. */
export const waitsAtGate = ({ step, upgradeState, inHand }: KairosNodeStatus): boolean =>
  step === 'Gate' && upgradeState !== 'InProgress' && inHand === undefined;
