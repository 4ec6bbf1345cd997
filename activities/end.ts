import { HELD_PREFIX, NODE_NAME_ANNOTATION, NODE_UID_ANNOTATION, STEP_LABEL } from '../api/names.ts';
import type { NodeInHand, NodeRef, NodeResult, RolloutContext, Target } from '../api/messages.ts';
import type { AttemptEvidence, Step, Verdict, WriteRecord } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { deleteJob } from '../kube/jobs.ts';
import { applyKairosNodeSpec, readKairosNode } from '../kube/kairos-nodes.ts';
import { type NodeView, readNode, writeNode } from '../kube/nodes.ts';
import { deletePod, type PodView } from '../kube/pods.ts';
import { goesBack, keptOutText } from '../policy/placement.ts';
import { heldFor, sameTry } from '../policy/recovery.ts';
import { versionOf } from '../policy/release.ts';
import { shortRecords } from '../policy/write-record.ts';
import { forgetAttempt, recordAttempt } from './attempt-record.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { rebootPod, writeJobName } from './manifests.ts';
import { giveLeaseBack } from './node-lease.ts';
import { goneText } from './node-there.ts';
import { goesWithItsNamespace } from './served-namespace.ts';
import { isOfHand } from './step-status.ts';

/**
 * How a node ends. `unrecorded`: it settles nothing, the node is to be tried again. `verified`: it runs what it should,
 * and only its recovery image was not written.
 */
export interface NodeEnd {
  hand: NodeInHand;
  verdict: Verdict;
  message: string;
  unrecorded?: boolean;
  /** What the verdict was given on. */
  evidence?: AttemptEvidence;
  verified?: boolean;
}

/**
 * Ends a node: back to service or held by name, the attempt recorded, our pods and Jobs gone. Each part looks before
 * it acts, so repeating it changes nothing.
 */
export async function endNode(view: ClusterView, end: NodeEnd): Promise<NodeResult> {
  const { hand, verdict } = end;
  const message = withDrain(end.message, hand);
  assertCluster(view, hand.cluster);
  // The image was not touched: what the node should run is what it was before.
  if (isUntouched(verdict)) await takeStampBack(view, hand);
  const writes = await recordsOf(view, hand);
  const place = await placeNode(view, end);
  // After the node has its mark off, or says that it is held: until then other tools keep away from it.
  if (place !== 'Gone') await giveLeaseBack(view, hand.node);
  view.nodePods.forget(hand.node.name);
  await cleanUp(view, hand, place, writes);
  const release = view.kairosNodes.get(hand.node.name)?.status.release;
  const to = release === undefined ? undefined : versionOf(release);
  // Its image was not touched, so it is no failure of the upgrade that the node went.
  const gone = place === 'Gone' && (verdict === 'Failed' || verdict === 'Skipped');
  if (gone)
    return { node: hand.node.name, outcome: 'Ended', verdict: 'Skipped', message: goneText(hand.node.name), gone };
  if (end.unrecorded === true) await forgetAttempt(view, hand, message);
  else
    await recordAttempt(
      view,
      { ...hand, writes, evidence: end.evidence },
      verdict,
      message,
      place === 'KeptOut' ? keptOut(hand, verdict) : undefined,
    );
  return {
    node: hand.node.name,
    outcome: 'Ended',
    verdict,
    message,
    ...(hand.from === undefined ? {} : { from: hand.from }),
    ...(to === undefined ? {} : { to }),
    ...(writes.length === 0 ? {} : { writes: shortRecords(writes) }),
    ...(end.evidence === undefined ? {} : { evidence: end.evidence }),
  };
}

/** What became of a node: `Left`: somebody had freed it before. `Gone`: it was deleted or replaced. */
type Place = 'GivenBack' | 'KeptOut' | 'Left' | 'Gone';

/** Verdicts of nodes whose image was not touched. */
const isUntouched = (verdict: Verdict) => verdict === 'Cancelled' || verdict === 'Failed' || verdict === 'Skipped';

/** The mark with which a node is kept out, or null for one that goes back. `uncordoned`: a person did that already. */
function markAfter({ hand, verdict, verified }: NodeEnd, uncordoned: boolean): string | null {
  const { spec, takesOver } = hand;
  if (uncordoned && isUntouched(verdict) && spec.upgradeActive) return null;
  // Untouched, or given a recovery image only, a node that was held goes back to being held, as it was.
  if (takesOver !== undefined && (isUntouched(verdict) || !spec.upgradeActive)) return takesOver;
  const back = !spec.upgradeActive || goesBack(verdict, spec.uncordonOnFailure, verified);
  return back ? null : `${HELD_PREFIX}${verdict}`;
}

/** Why a node stays out, and what to type. */
function keptOut({ node, spec, takesOver }: NodeInHand, verdict: Verdict): string | undefined {
  if (takesOver !== undefined && (isUntouched(verdict) || !spec.upgradeActive))
    return `It is kept out of service, as before: ${takesOver}`;
  return keptOutText(node.name, verdict, spec.uncordonOnFailure);
}

/** What was done to pods against their budgets is told with the end of the node, whatever that is. */
function withDrain(message: string, { drain }: NodeInHand): string {
  return drain === undefined || drain.outcome === 'NothingEvicted' ? message : `${message}; pods: ${drain.message}`;
}

/**
 * What was written in this attempt. A watch that shows a later step of it shows the records, too, which were kept before;
 * else it is read live, as a write may have ended a moment ago. Late evidence keeps what was known.
 */
async function recordsOf(view: ClusterView, hand: NodeInHand): Promise<WriteRecord[]> {
  const seen = recordsSeen(view, hand);
  if (seen !== undefined) return seen;
  try {
    const { inHand, lastAttempt } = (await readKairosNode(view.client, hand.node.name)).status;
    if (inHand?.writes !== undefined) return inHand.writes;
    const isThisOne = sameTry(lastAttempt?.request, hand.request) && lastAttempt?.bootID === hand.bootID;
    return (isThisOne ? lastAttempt?.writes : undefined) ?? [];
  } catch (error) {
    if (isReason(error, 'NotFound')) return [];
    throw error;
  }
}

const AFTER_WRITE: ReadonlySet<Step> = new Set(['Reboot', 'Verify', 'Soak'] as const);

function recordsSeen(view: ClusterView, hand: NodeInHand): WriteRecord[] | undefined {
  const now = view.kairosNodes.get(hand.node.name)?.status;
  if (now?.step === undefined || !AFTER_WRITE.has(now.step) || !isOfHand(now, hand)) return undefined;
  return now.inHand?.writes;
}

/**
 * Uncordons only what carries our mark; what is kept out keeps a mark that says why. A node that somebody uncordoned
 * before its image was touched is in service, and is kept out by no mark. One that is gone is not there to be placed, and
 * another one of its name is left alone.
 */
async function placeNode(view: ClusterView, end: NodeEnd): Promise<Place> {
  const { hand } = end;
  // The write holds only for the version that was looked at: what the watch shows is enough where it shows our mark.
  const seen = sameNode(view, hand.node);
  let known = seen?.owner === hand.workflowID ? seen : undefined;
  for (;;) {
    try {
      const node = known ?? (await readNode(view.client, hand.node.name));
      known = undefined;
      if (node.uid !== hand.node.uid) return 'Gone';
      if (node.owner !== hand.workflowID) return heldFor(node.owner) === undefined ? 'Left' : 'KeptOut';
      const owner = markAfter(end, isUncordoned(view, hand, node));
      await writeNode(view.client, node.name, {
        owner,
        ...(owner === null && hand.spec.upgradeActive ? { unschedulable: null } : {}),
        resourceVersion: node.resourceVersion,
      });
      return owner === null ? 'GivenBack' : 'KeptOut';
    } catch (error) {
      if (isReason(error, 'NotFound')) return 'Gone';
      if (!isReason(error, 'Conflict')) throw error;
    }
  }
}

/** Whether somebody uncordoned the node after we had: before that step it may not be cordoned yet. */
function isUncordoned(view: ClusterView, hand: NodeInHand, node: NodeView): boolean {
  const { step, inHand } = view.kairosNodes.get(hand.node.name)?.status ?? {};
  const cordoned = step === 'Drain' || step === 'Upgrade';
  return cordoned && !node.unschedulable && inHand?.startedAt === hand.startedAt;
}

async function takeStampBack(view: ClusterView, hand: NodeInHand): Promise<void> {
  try {
    // Read live: a cancel right after the stamp may come before the watch has delivered it.
    const { spec } = await readKairosNode(view.client, hand.node.name);
    if (spec.source?.rollout !== hand.rolloutID) return;
    await applyKairosNodeSpec(view.client, hand.node.name, {});
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}

/**
 * Removes what we made on a node, and nothing that is for another node of its name. Where the Node is gone nobody says
 * any more how a pod of it ends: the Job that writes is deleted, too, whatever its pod is said to do. Should the machine
 * still run, the pod has an hour to end by itself.
 */
async function cleanUp(
  view: ClusterView,
  hand: NodeInHand,
  place: Place,
  writes: readonly WriteRecord[],
): Promise<void> {
  const { name, uid } = hand.node;
  const ours = [...view.pods.values()].filter(
    ({ annotations }) =>
      annotations[NODE_NAME_ANNOTATION] === name && (annotations[NODE_UID_ANNOTATION] ?? uid) === uid,
  );
  await Promise.all(ours.map((pod) => removePod(view, pod, place)));
  // A Job is left over where its pod was deleted by somebody, or collected with the Node: what it wrote has ended, or
  // there would be no record of it.
  const written =
    place === 'Gone'
      ? (['upgrade', 'recovery'] as const).map((step) => writeJobName(hand, step))
      : writes.map(({ step, bootID = hand.bootID }) => writeJobName({ ...hand, bootID }, step));
  const left = written.filter((job) => place === 'Gone' || ours.every((pod) => pod.owner?.name !== job));
  await Promise.all(left.map((job) => removeJob(view, hand.request.namespace, job)));
  // Made right before the API server went away, a pod may not be in the watch yet.
  const reboots = writes.flatMap(({ step, bootID = hand.bootID }) =>
    step === 'upgrade' ? [rebootPod({ ...hand, bootID }).metadata] : [],
  );
  const unseen = reboots.filter((pod) => ours.every(({ name }) => name !== pod.name));
  await Promise.all(unseen.map((pod) => removeByName(view, pod)));
}

async function removeByName(
  view: ClusterView,
  { namespace, name }: { namespace: string; name: string },
): Promise<void> {
  try {
    await deletePod(view.client, namespace, name, { gracePeriodSeconds: 0 });
  } catch (error) {
    if (!goesWithItsNamespace(view, namespace, error)) throw error;
  }
}

async function removeJob(view: ClusterView, namespace: string, name: string): Promise<void> {
  try {
    await deleteJob(view.client, namespace, name);
  } catch (error) {
    if (!goesWithItsNamespace(view, namespace, error)) throw error;
  }
}

/**
 * Removes a pod of ours, and the Job that owns it. Never one that is still writing, as long as its node is there: that is
 * asked after its end only.
 */
export async function removePod(
  view: Pick<ClusterView, 'client' | 'namespaces'>,
  pod: PodView,
  place: Place = 'Left',
): Promise<void> {
  const writing = pod.labels[STEP_LABEL] === 'upgrade' || pod.labels[STEP_LABEL] === 'recovery';
  if (place !== 'Gone' && writing && pod.containers.some((container) => container.running)) return;
  try {
    if (pod.owner?.kind === 'Job') await deleteJob(view.client, pod.namespace, pod.owner.name, { uid: pod.owner.uid });
    else if (!pod.deleting)
      await deletePod(view.client, pod.namespace, pod.name, { uid: pod.uid, gracePeriodSeconds: 0 });
  } catch (error) {
    if (!goesWithItsNamespace(view, pod.namespace, error)) throw error;
  }
}

/**
 * Records the end of an attempt that never touched its node: a pull that failed, a gate that refused, or a KairosNode
 * that a person edited, whose drift is settled, or the watcher would start the same rollout again and again.
 *
 * Nothing is taken from a node that another rollout has in hand, or that is held: how to finish it stands there.
 */
export async function settleNode(
  view: ClusterView,
  end: RolloutContext & { node: NodeRef; verdict: Verdict; message: string; target?: Target },
): Promise<void> {
  assertCluster(view, end.cluster);
  const taken =
    sameNode(view, end.node)?.owner !== undefined || view.kairosNodes.get(end.node.name)?.status.inHand !== undefined;
  if (taken && end.request.kind === 'NodeOpUpgrade') return;
  await recordAttempt(view, { ...end, target: end.target ?? { image: end.spec.image } }, end.verdict, end.message);
}
