import {
  nodeWorkflowID,
  type GateAnswer,
  type Leftover,
  type NodeRef,
  type NodeUpgradeInput,
  type Place,
  type RolloutContext,
  type Target,
} from '../api/messages.ts';
import type { KairosNodeStatus } from '../api/types.ts';
import type { KairosNodeView } from '../kube/kairos-nodes.ts';
import type { NodeView } from '../kube/nodes.ts';
import { whoIsInTheWay } from '../policy/budget.ts';
import { misfit } from '../policy/fit.ts';
import { closedBudget, closedNode, closedReport, type ClosedGate } from '../policy/gates.ts';
import { runsTarget } from '../policy/on-target.ts';
import {
  endWasCutOff,
  heldFor,
  lateVerdict,
  rebootsFirst,
  sameAttempt,
  sameTry,
  verifiesFirst,
} from '../policy/recovery.ts';
import { sameVersion, versionOf } from '../policy/release.ts';
import { skewRefusal } from '../policy/skew.ts';
import { supersededText } from '../policy/superseded.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { closedByQuorum, controlPlaneVersions } from './control-plane.ts';
import { findLeftover, heldLeftover, liveStatus } from './leftover.ts';
import { closedHealth, refreshHealth } from './health-gate.ts';
import { closedLease } from './node-lease.ts';
import { goneText, isGone } from './node-there.ts';
import { imageMissing } from './pre-pull.ts';
import { showRolloutWait } from './rollout-waits.ts';
import { readSuperseded } from './superseded.ts';
import { closedWindow } from './window-gate.ts';
import { writeRefusal } from './write-refusal.ts';

/**
 * The questions asked right before a node is touched, answered from the watches. `Wait` frees the node's workflow id:
 * waiting is the wave's. `Done` ends the node without touching it. `Recover`: an earlier workflow left something behind,
 * which is finished before anything else is begun.
 */
export async function checkGates(view: ClusterView, input: NodeUpgradeInput): Promise<GateAnswer> {
  assertCluster(view, input.cluster);
  const node = sameNode(view, input.node);
  const name = input.node.name;
  if (node === undefined) {
    if (!(await isGone(view, input.node))) return { answer: 'Wait', reason: `node ${name} has just been made` };
    return { answer: 'Done', verdict: 'Skipped', message: goneText(name), gone: true };
  }
  const before = await askThePast(view, input, node);
  if (before !== undefined) return beginsTooEarly(view, input, before) ?? before;
  if (input.recover === true) return { answer: 'Wait', reason: `nothing is left to recover on node ${name}` };
  return askThePresent(view, input, node);
}

/** Whether a node of which nothing is left to finish may be begun now. */
async function askThePresent(view: ClusterView, input: NodeUpgradeInput, node: NodeView): Promise<GateAnswer> {
  const kairos = view.kairosNodes.get(node.name);
  const release = kairos?.status.release;
  const from = release === undefined ? undefined : versionOf(release);
  const { spec } = input;
  const isThere = runsTarget(kairos?.status, input.target.version) && !spec.force && spec.upgradeActive;
  // What is left to do on a node that runs the target: its recovery image, where that is not known to be written.
  const asked = isThere && spec.upgradeRecovery ? { ...input, spec: { ...spec, upgradeActive: false } } : input;
  const refused = (await refusal(view, asked, node, kairos)) ?? writeRefusal(asked, node, kairos?.status);
  if (refused !== undefined) return refused;
  const closed = await closedNow(view, asked, node, kairos);
  if (closed !== undefined) return { answer: 'Wait', reason: closed.reason };
  return {
    answer: 'Go',
    bootID: node.bootID,
    ...(from === undefined ? {} : { from }),
    ...(node.owner === undefined ? {} : { takesOver: node.owner }),
    ...(asked === input ? {} : { recoveryOnly: true }),
  };
}

/** A held node that is to be rebooted before it is written to again is begun anew, not finished: in a window. */
function beginsTooEarly(view: ClusterView, input: NodeUpgradeInput, before: GateAnswer): GateAnswer | undefined {
  if (before.answer !== 'Recover') return undefined;
  const { resume, hand } = before.leftover;
  const shut = resume === 'reboot' && hand.takesOver !== undefined ? closedWindow(view, input) : undefined;
  return shut === undefined ? undefined : { answer: 'Wait', reason: shut.reason };
}

/** The first closed gate, with health gates asked where their answers are too old. */
async function closedNow(
  view: ClusterView,
  input: NodeUpgradeInput,
  node: NodeView,
  kairos: KairosNodeView | undefined,
): Promise<ClosedGate | undefined> {
  let closed = closedGate(view, input, node, kairos);
  if (closed?.gate === 'Health') {
    await refreshHealth(view, input);
    closed = closedGate(view, input, node, kairos);
  }
  // What was waited for is over, also where this node has not waited for it.
  if (closed === undefined) void showRolloutWait(view, input, undefined);
  return closed;
}

/**
 * What was done to this node before: by a workflow that is gone (its mark is there), or by this very attempt, before its
 * rollout was lost and started again. Read live: a watch that lags would let a node be upgraded twice.
 */
async function askThePast(view: ClusterView, input: NodeUpgradeInput, node: NodeView): Promise<GateAnswer | undefined> {
  if (node.owner === nodeWorkflowID(input.cluster, input.node))
    return { answer: 'Recover', leftover: await findLeftover(view, input, node) };
  const seen = view.kairosNodes.get(node.name)?.status;
  const held = heldFor(node.owner) !== undefined;
  const status = held || seen?.inHand !== undefined ? await liveStatus(view, node.name) : seen;
  const isAsked = input.recover === true && sameAttempt(status?.inHand?.request, input.request);
  if (isAsked && status !== undefined && endWasCutOff(node, status))
    return { answer: 'Recover', leftover: await findLeftover(view, input, node) };
  const last = status?.lastAttempt;
  if (status === undefined || last === undefined) return undefined;
  const leftover = leftOfHeld(input, node, status, last);
  if (leftover !== undefined) return { answer: 'Recover', leftover };
  if (!isSameTry(last, input) || last.verdict === 'Cancelled') return undefined;
  return {
    answer: 'Done',
    verdict: last.verdict,
    message: last.message ?? 'ended before in this attempt',
    recorded: true,
  };
}

/**
 * What is to be finished on a node that is held: evidence that came late, a reboot before it is written to again, or
 * what an earlier attempt found wrong with a node that runs the target.
 */
function leftOfHeld(
  input: NodeUpgradeInput,
  node: NodeView,
  status: KairosNodeStatus,
  last: NonNullable<KairosNodeStatus['lastAttempt']>,
): Leftover | undefined {
  const { owner } = node;
  if (owner === undefined || heldFor(owner) === undefined) return undefined;
  if (input.recover === true)
    return lateVerdict(owner, node, status) === undefined ? undefined : heldLeftover(input, 'verify', last, owner);
  if (isSameTry(last, input)) return undefined;
  if (rebootsFirst(last, node.bootID)) return heldLeftover(input, 'reboot', last, owner);
  const wanted = { version: input.target.version, force: input.spec.force };
  return verifiesFirst(last, node, status, wanted) ? heldLeftover(input, 'verify', last, owner) : undefined;
}

const isSameTry = (last: KairosNodeStatus['lastAttempt'], { request }: RolloutContext) =>
  sameTry(last?.request, request);

async function refusal(
  view: ClusterView,
  input: NodeUpgradeInput,
  node: NodeView,
  kairos: KairosNodeView | undefined,
): Promise<GateAnswer | undefined> {
  const { spec, target, place } = input;
  const release = kairos?.status.release;
  const wanted = input.request.kind === 'KairosNode' ? kairos?.spec.version : undefined;
  if (wanted !== undefined && !sameVersion(wanted, target.version)) {
    return {
      answer: 'Done',
      verdict: 'Failed',
      message: `TargetMismatch: KairosNode ${node.name} asks for version ${wanted}, but ${target.image} is ${target.version}: mend spec.version or spec.image`,
    };
  }
  if (spec.upgradeActive && !spec.force && runsTarget(kairos?.status, target.version))
    return { answer: 'Done', verdict: 'AlreadyOnTarget', message: `runs ${target.version} already: not touched` };
  const superseded = readSuperseded(view, input, node);
  if (superseded !== undefined) {
    const { by } = superseded;
    return {
      answer: 'Done',
      verdict: 'Superseded',
      message: supersededText(node.name, superseded),
      recorded: true,
      supersededBy: by,
    };
  }
  const fit = release === undefined ? undefined : misfit(release, target.fields, spec.allowMisfit);
  if (fit !== undefined) {
    return {
      answer: 'Done',
      verdict: 'Failed',
      message: `image ${target.image} does not fit node ${node.name}: ${fit}; its image was not touched`,
    };
  }
  const versions = await controlPlaneVersions(view);
  const skew = skewRefusal(place.group, versions, node.kubeletVersion, target.fields['KAIROS_SOFTWARE_VERSION']);
  if (skew !== undefined) return { answer: 'Done', verdict: 'Failed', message: `${skew}; the node was not touched` };
  return undefined;
}

/** Which gate keeps a node from being taken out now, or undefined: the first of those that are closed. */
export function closedGate(
  view: ClusterView,
  input: RolloutContext & { node: NodeRef; place: Place; target?: Target },
  node: NodeView,
  kairos: KairosNodeView | undefined,
): ClosedGate | undefined {
  const shut = closedWindow(view, input);
  if (shut !== undefined) return shut;
  const closed = nodeClosed(node, mayTakeOver(input, node, kairos), kairos) ?? closedReport(node, kairos?.status);
  if (closed !== undefined) return closed;
  const leased = closedLease(view, node.name);
  if (leased !== undefined) return leased;
  const missing = imageMissing(view, input);
  if (missing !== undefined) return { gate: 'Image', reason: missing };
  // To wait behind another node that is in hand is a matter of the budget, not yet of the quorum.
  const lost = closedByQuorum(view, node.name, []);
  if (lost !== undefined) return lost;
  const rivals = whoIsInTheWay(input.place, node, view.outages.values());
  if (rivals !== undefined)
    return closedBudget(
      rivals,
      rivals.some((name) => isInOwnHand(view, input, name)),
    );
  // Last: only what could begin otherwise asks other servers.
  return closedByQuorum(view, node.name, view.outages.values()) ?? closedHealth(view, input);
}

const isInOwnHand = (view: ClusterView, { request }: RolloutContext, name: string): boolean =>
  sameAttempt(view.kairosNodes.get(name)?.status.inHand?.request, request);

/** Whether a mark that keeps a node out on purpose gives way: it is of an earlier attempt than the one that asks. */
const mayTakeOver = (context: RolloutContext, node: NodeView, kairos: KairosNodeView | undefined): boolean =>
  heldFor(node.owner) !== undefined && !isSameTry(kairos?.status.lastAttempt, context);

/** Whether this attempt already has a verdict for the node. */
export const endedBefore = (context: RolloutContext, kairos: KairosNodeView | undefined): boolean =>
  kairos !== undefined &&
  kairos.status.inHand === undefined &&
  kairos.status.lastAttempt?.verdict !== 'Cancelled' &&
  isSameTry(kairos.status.lastAttempt, context);

/** Why a node itself cannot be taken out now, or undefined. `ours`: its mark gives way, and so does its cordon. */
export const nodeClosed = (node: NodeView, ours: boolean, kairos?: KairosNodeView): ClosedGate | undefined =>
  closedNode(node, ours, kairos?.status.inHand?.rollout);
