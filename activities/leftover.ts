import { BOOT_ID_ANNOTATION, NODE_NAME_ANNOTATION, STEP_LABEL } from '../api/names.ts';
import { nodeWorkflowID, type Leftover, type NodeInHand, type NodeUpgradeInput } from '../api/messages.ts';
import type { KairosNodeStatus } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { readJob } from '../kube/jobs.ts';
import { readKairosNode } from '../kube/kairos-nodes.ts';
import type { NodeView } from '../kube/nodes.ts';
import { resumeFrom, sameTry, tryOf } from '../policy/recovery.ts';
import type { ClusterView } from './cluster-view.ts';
import { upgradeJobName } from './manifests.ts';

/**
 * What an earlier workflow of this node left behind: its mark is on the node, but it is not the workflow that asks.
 * Read live, from what outlives Temporal: the KairosNode, the upgrade Job and its pod, and the boot id.
 */
export async function findLeftover(view: ClusterView, input: NodeUpgradeInput, node: NodeView): Promise<Leftover> {
  const status = await liveStatus(view, node.name);
  const inHand = status.inHand;
  const context = inHand === undefined ? input : { ...input, ...contextOf(input, inHand) };
  const writtenIn = await bootsWithJob(view, context, node, inHand?.bootID);
  const found = resumeFrom({
    bootID: node.bootID,
    writtenIn,
    ...(inHand === undefined ? {} : { inHand }),
    ...(status.step === undefined ? {} : { step: status.step }),
  });
  const bootID = found.resume === 'giveBack' ? (inHand?.bootID ?? node.bootID) : found.bootID;
  const hand = handOf(context, bootID, inHand);
  // With our mark the cordon is ours, too, whatever the attempt that asks now would do.
  const upgradeActive = node.unschedulable || found.resume === 'write';
  return {
    resume: found.resume,
    hand: { ...hand, spec: { ...hand.spec, upgradeActive }, recoveredAt: new Date().toISOString() },
    sameAttempt: inHand !== undefined && sameTry(inHand.request, input.request),
  };
}

/**
 * The last attempt of a held node as a node in hand again, to be rebooted or verified before anything else is done to
 * it: its boot id and its target are those of that attempt.
 */
export function heldLeftover(
  input: NodeUpgradeInput,
  resume: 'reboot' | 'verify',
  last: NonNullable<KairosNodeStatus['lastAttempt']>,
  owner: string,
): Leftover {
  const version = last.version ?? input.target.version;
  const { request = tryOf(input.request), rollout, bootID = '', image, digest } = last;
  const attempt = {
    rollout,
    request,
    image,
    version,
    bootID,
    startedAt: last.startedAt ?? last.finishedAt,
    ...(digest === undefined ? {} : { digest }),
    ...(last.from === undefined ? {} : { from: last.from }),
    ...(last.notReadyBefore === undefined ? {} : { notReadyBefore: last.notReadyBefore }),
    ...(last.steps === undefined ? {} : { steps: last.steps }),
  };
  const context = { ...input, ...contextOf(input, attempt) };
  const hand = handOf(context, bootID, attempt);
  // Evidence is read at any time: nothing is disrupted by it.
  const { windows: _windows, healthGates: _healthGates, ...atAnyTime } = hand.spec;
  const spec = resume === 'verify' ? atAnyTime : hand.spec;
  return {
    resume,
    // Held is a node whose upgrade failed: to finish that is not to write anything more.
    hand: { ...hand, spec: { ...spec, upgradeActive: true, upgradeRecovery: false }, takesOver: owner },
    sameAttempt: false,
  };
}

type InHand = NonNullable<KairosNodeStatus['inHand']>;

/** The context of the attempt that was under way; deadlines and options are those of the one that asks now. */
function contextOf(input: NodeUpgradeInput, inHand: InHand): Pick<NodeUpgradeInput, 'rolloutID' | 'request' | 'spec'> {
  return {
    rolloutID: inHand.rollout,
    request: inHand.request,
    spec: { ...input.spec, image: inHand.image },
  };
}

function handOf(input: NodeUpgradeInput, bootID: string, inHand: InHand | undefined): NodeInHand {
  const { timing: _timing, recover: _recover, ...context } = input;
  const target =
    inHand === undefined
      ? input.target
      : {
          image: inHand.image,
          pinned: inHand.pinned ?? inHand.image,
          version: inHand.version,
          architecture: input.target.architecture,
          fields: {},
          ...(inHand.digest === undefined ? {} : { digest: inHand.digest }),
        };
  return {
    ...context,
    target,
    workflowID: nodeWorkflowID(input.cluster, input.node),
    bootID,
    startedAt: inHand?.startedAt ?? new Date().toISOString(),
    ...(inHand?.from === undefined ? {} : { from: inHand.from }),
    ...(inHand?.notReadyBefore === undefined ? {} : { notReadyBefore: inHand.notReadyBefore }),
    ...(inHand?.steps === undefined ? {} : { steps: inHand.steps }),
    ...(inHand?.drain === undefined ? {} : { drain: inHand.drain }),
  };
}

export async function liveStatus(view: ClusterView, name: string): Promise<KairosNodeStatus> {
  try {
    return (await readKairosNode(view.client, name)).status;
  } catch (error) {
    if (isReason(error, 'NotFound')) return {};
    throw error;
  }
}

async function bootsWithJob(
  view: ClusterView,
  input: NodeUpgradeInput,
  node: NodeView,
  inHandBootID: string | undefined,
): Promise<string[]> {
  const boots = new Set<string>();
  for (const pod of view.pods.values()) {
    const bootID = pod.annotations[BOOT_ID_ANNOTATION];
    const isWriter = pod.labels[STEP_LABEL] === 'upgrade' && pod.annotations[NODE_NAME_ANNOTATION] === node.name;
    if (isWriter && bootID !== undefined) boots.add(bootID);
  }
  for (const bootID of new Set([node.bootID, inHandBootID ?? node.bootID])) {
    try {
      const name = upgradeJobName(input.node, bootID);
      const job = await readJob(view.client, input.request.namespace, name);
      if (!job.deleting || job.active > 0) boots.add(bootID);
    } catch (error) {
      if (!isReason(error, 'NotFound')) throw error;
    }
  }
  return [...boots];
}
