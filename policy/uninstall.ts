import type { KairosNodeStatus } from '../api/types.ts';
import { endWasCutOff, heldFor, resumeFrom } from './recovery.ts';

/** What is known of a node when the operator is to go. */
export interface NodeFacts {
  name: string;
  /** The mark that its workflow sets: the id of that. */
  mark: string;
  /** The mark that it carries. */
  owner?: string;
  bootID: string;
  status: KairosNodeStatus;
  /** Boots for which an upgrade Job, or a pod of one, exists. */
  writtenIn: readonly string[];
  /** Whether a container that writes an image runs on it. */
  writing: boolean;
}

/**
 * `past`: past the point of no return, without a verdict. `untouched`: taken out, its image not touched. `ending`: in
 * service again, its end not recorded. `held`: kept out on purpose. `strange`: marked under another name of the cluster.
 */
export type Standing = 'free' | 'untouched' | 'ending' | 'past' | 'held' | 'strange';

/** How far the upgrade of a node is, by the rules by which a lost one is recovered. */
export function standingOf({ mark, owner, bootID, status, writtenIn, writing }: NodeFacts): Standing {
  if (writing) return 'past';
  if (heldFor(owner) !== undefined) return 'held';
  if (owner !== undefined && owner !== mark) return 'strange';
  if (endWasCutOff({ owner, bootID }, status)) return 'ending';
  if (owner === undefined && status.inHand === undefined) return 'free';
  const { inHand, step } = status;
  const evidence = { bootID, writtenIn, ...(inHand && { inHand }), ...(step && { step }) };
  return resumeFrom(evidence).resume === 'giveBack' ? 'untouched' : 'past';
}

/** Whether the operator may have cordoned a node whose image it has not touched: the step is shown before it cordons. */
export const mayBeCordoned = ({ inHand, step }: KairosNodeStatus): boolean =>
  inHand === undefined || step === 'Cordon' || step === 'Drain';

/** What becomes of nodes that are held: the uninstall is refused, or they go back to service. */
export type HeldNodes = 'refuse' | 'give-back';

export interface Situation {
  nodes: readonly NodeFacts[];
  /** Ids of the rollouts that are open, as far as Temporal says. */
  rollouts: readonly string[];
  /** Why nothing can be brought to its end: Temporal does not answer, or no worker takes its tasks. */
  trouble?: string;
  /** The trouble has lasted so long that it is not waited for any more. */
  givenUp: boolean;
  heldNodes: HeldNodes;
}

export type UninstallDecision =
  | { action: 'refuse'; reasons: string[] }
  | { action: 'cancel' }
  | { action: 'wait'; reasons: string[] }
  | { action: 'giveBack'; nodes: string[] }
  | { action: 'done'; remarks: string[] };

/** Before anything is changed: whether rollouts may be cancelled, or the uninstall is refused as things are. */
export function decideFirst({ nodes, heldNodes }: Pick<Situation, 'nodes' | 'heldNodes'>): UninstallDecision {
  const reasons = nodes.flatMap((node) => refusal(node, heldNodes) ?? []);
  return reasons.length > 0 ? { action: 'refuse', reasons } : { action: 'cancel' };
}

/**
 * What is next once rollouts are being cancelled. What the worker can bring to its end is left to it; only what it
 * cannot, for want of Temporal, is put back here, and only where no image was touched.
 */
export function decideNext(situation: Situation): UninstallDecision {
  const { nodes, rollouts, trouble, givenUp, heldNodes } = situation;
  const standing = (...wanted: Standing[]) => nodes.filter((node) => wanted.includes(standingOf(node)));
  const untouched = standing('untouched');
  if (givenUp && untouched.length > 0) return { action: 'giveBack', nodes: untouched.map(({ name }) => name) };
  const inHand = [...standing('past'), ...(givenUp ? [] : [...untouched, ...standing('ending')])];
  const waits = [
    ...inHand.map(waitText),
    ...(trouble === undefined ? rollouts.map((id) => `${id} is open`) : givenUp ? [] : [trouble]),
  ];
  if (waits.length > 0) return { action: 'wait', reasons: waits };
  const first = decideFirst(situation);
  if (first.action === 'refuse') return first;
  const held = standing('held');
  if (heldNodes === 'give-back' && held.length > 0) return { action: 'giveBack', nodes: held.map(({ name }) => name) };
  return { action: 'done', remarks: trouble === undefined ? [] : [remark(trouble, rollouts)] };
}

/** Why a node keeps the operator from being uninstalled, and what to do; undefined where it does not. */
function refusal(node: NodeFacts, heldNodes: HeldNodes): string | undefined {
  const { name, owner, status } = node;
  const free = `kubectl annotate node ${name} kairos.io/upgrade-owner- && kubectl uncordon ${name}`;
  const unmark = `kubectl annotate node ${name} kairos.io/upgrade-owner-`;
  switch (standingOf(node)) {
    case 'free':
    case 'ending':
    case 'untouched':
      return undefined;
    case 'past':
      return `node ${name} is past the point of no return (${stepText(node)}): it must be taken to its verdict. Wait for that: kubectl get kairosnode ${name} --watch${pauseText(status)}; then uninstall again. With helm uninstall --no-hooks nobody reboots, verifies or uncordons ${name} any more, nothing protects its write, and when it does not boot nobody says so`;
    case 'held':
      if (heldNodes === 'give-back') return undefined;
      return `node ${name} is kept out (${owner}${whyText(status)}), and nobody judges it any more once the operator is gone. If it serves, put it back: ${free}. If it is to stay cordoned, take only the mark away: ${unmark}. To have all such nodes put back, set UNINSTALL_HELD_NODES=give-back. Then uninstall again`;
    case 'strange':
      return `node ${name} is in the hand of an operator that calls this cluster otherwise (${owner}): if that one still runs, leave the node to it and uninstall that one first; if not, look at the node and put it back: ${free}. Then uninstall again`;
  }
}

/** Why a node is held, on one line: what a program said is part of it. */
const whyText = ({ lastAttempt }: KairosNodeStatus) =>
  lastAttempt?.message === undefined ? '' : `: ${lastAttempt.message.replaceAll(/\s+/g, ' ').slice(0, 500)}`;

const waitText = (node: NodeFacts) => `node ${node.name} is in hand (${stepText(node)})`;

function stepText({ status, owner = 'no mark' }: NodeFacts): string {
  const { inHand, step, stepSince, message } = status;
  if (inHand === undefined || step === undefined) return owner;
  const since = stepSince === undefined ? '' : ` since ${stepSince}`;
  return `step ${step}${since}${message === undefined ? '' : `, ${message}`}`;
}

/** How to keep further nodes from being started while one is waited for. */
function pauseText({ inHand }: KairosNodeStatus): string {
  if (inHand?.request.kind !== 'NodeOpUpgrade') return '';
  const { namespace, name } = inHand.request;
  return `; so that no further node is started: kubectl annotate -n ${namespace} nodeopupgrade ${name} --overwrite kairos.io/pause=uninstall`;
}

const remark = (trouble: string, rollouts: readonly string[]) =>
  `${trouble}; no node is in hand, so this goes on without it. ${
    rollouts.length === 0
      ? 'Rollouts that are open in Temporal'
      : `These rollouts, open in Temporal, were asked to cancel, and`
  } end when an operator of this cluster takes up its tasks again${rollouts.length === 0 ? '' : `: ${rollouts.join(', ')}`}`;
