import { ROLLOUT_FIELD_MANAGER, STEP_LABEL, WORKFLOW_ANNOTATION } from '../api/names.ts';
import type { RolloutContext } from '../api/messages.ts';
import { VERDICTS } from '../api/schemas/kairos-node.ts';
import type { RolloutStatus } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { readKairosNode } from '../kube/kairos-nodes.ts';
import { patchNodeOpUpgradeStatus, readNodeOpUpgrade } from '../kube/node-op-upgrades.ts';
import { handMadeDrift } from '../policy/drift.ts';
import { pastAttempt, remember } from '../policy/history.ts';
import { youngestOf } from '../policy/node-age.ts';
import { sameAttempt } from '../policy/recovery.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';
import { orNone } from './contact.ts';
import { removePod, settleNode } from './end.ts';
import { withClosedWindow } from './rollout-waits.ts';
import { goesWithItsNamespace } from './served-namespace.ts';

type Changing = Omit<RolloutStatus, 'nextWindow'>;
type FailedInStatus = NonNullable<RolloutStatus['failed']>[number];

/**
 * Whether the request still is what the rollout was started for: a start may come late, after the resource was edited,
 * deleted, or made again under its name. Clears what an earlier attempt left in `status.rollout` and `status.plan`; the
 * history has it.
 */
export async function confirmRequest(
  view: ClusterView,
  context: RolloutContext,
): Promise<{ current: boolean; reason: string }> {
  assertCluster(view, context.cluster);
  const { kind, namespace, name, uid, generation, attempt } = context.request;
  if (kind === 'KairosNode') return { current: true, reason: '' };
  try {
    const found = await readNodeOpUpgrade(view.client, namespace, name);
    if (found.metadata.uid !== uid || found.metadata.deletionTimestamp !== undefined) {
      return { current: false, reason: `NodeOpUpgrade ${namespace}/${name} was deleted before its rollout began` };
    }
    if (found.metadata.generation !== generation) {
      return { current: false, reason: `NodeOpUpgrade ${namespace}/${name} was edited before its rollout began` };
    }
    const { rollout: earlier, history } = found.status ?? {};
    if (earlier !== undefined && earlier.attempt < attempt) {
      const isRemembered = history?.some((past) => past.attempt === earlier.attempt) === true;
      const remembered = isRemembered ? {} : { history: remember(history, pastAttempt(earlier, Date.now())) };
      await patchNodeOpUpgradeStatus(
        view.client,
        namespace,
        name,
        { metadata: { uid }, status: { rollout: null, plan: null, ...remembered } },
        ROLLOUT_FIELD_MANAGER,
      );
    }
    return { current: true, reason: '' };
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
    return { current: false, reason: `NodeOpUpgrade ${namespace}/${name} is gone` };
  }
}

/**
 * Characters of a node's message that `status.rollout.failed` holds; its KairosNode has all of it. With a longer one the
 * API server would refuse the whole status, for ever.
 */
const LONGEST_FAILURE = 1024;

/**
 * Writes `status.rollout` under its own field manager, at transitions only. At the end it writes the attempt into the
 * history with the same request, and removes the pods that the rollout still has. A resource that is gone, or another one of its name, is left alone.
 */
export async function reportRollout(
  view: ClusterView,
  { context, status, final }: { context: RolloutContext; status: RolloutStatus; final: boolean },
): Promise<void> {
  assertCluster(view, context.cluster);
  const { kind } = context.request;
  if (kind === 'KairosNode' && final) await settleRest(view, context, status);
  if (kind === 'NodeOpUpgrade') await writeRollout(view, context, withClosedWindow(view, context, status), final);
  if (final) await removePulls(view, context);
}

/** Removes the pods with which a rollout, or a plan, has pulled. Repeating it finds fewer. */
export async function removePulls(
  view: ClusterView,
  { cluster, rolloutID }: Pick<RolloutContext, 'cluster' | 'rolloutID'>,
): Promise<void> {
  assertCluster(view, cluster);
  const pulls = [...view.pods.values()].filter(
    (pod) => pod.annotations[WORKFLOW_ANNOTATION] === rolloutID && pod.labels[STEP_LABEL] === 'pre-pull',
  );
  for (const pod of pulls) await removePod(view, pod);
}

/**
 * Hand-edited nodes that the rollout did not come to are settled with it: else the watcher would start the next rollout
 * of the same image at once, and a bad image would meet one node after the other.
 */
async function settleRest(view: ClusterView, context: RolloutContext, status: RolloutStatus): Promise<void> {
  const verdict = status.phase === 'Cancelled' ? 'Cancelled' : 'Skipped';
  for (const name of context.spec.nodeNames ?? []) {
    const seen = view.kairosNodes.get(name);
    if (seen === undefined || handMadeDrift(seen) !== context.spec.image) continue;
    // Read live: the watch may not have delivered yet how the rollout itself ended it.
    const node = await orNone(readKairosNode(view.client, name));
    if (node === undefined || handMadeDrift(node) !== context.spec.image) continue;
    // It was ended by this rollout, and somebody has asked anew since.
    if (sameAttempt(node.status.lastAttempt?.request, context.request)) continue;
    const message = `not touched, its rollout ended: ${status.message ?? status.phase}; edit spec.image to ask again`;
    await settleNode(view, { ...context, node: { name, uid: node.ownerUID ?? '' }, verdict, message });
  }
}

/** What an attempt is known by that begins: when, which nodes were there then, and what is done about others. */
const beginningOf = (
  view: ClusterView,
  spec: RolloutContext['spec'],
  before: RolloutStatus | undefined,
  now: string,
) => ({
  startedAt: before?.startedAt ?? now,
  youngestNode: before?.youngestNode ?? youngestOf(view.nodes.values()) ?? null,
  newNodes: spec.newNodes ?? 'Ignore',
});

async function writeRollout(
  view: ClusterView,
  { request: { namespace, name, uid }, spec }: RolloutContext,
  status: Changing & { nextWindow: string | null },
  final: boolean,
): Promise<void> {
  const now = new Date().toISOString();
  try {
    const known = final || status.phase === 'Planning' ? await statusOf(view, namespace, name) : undefined;
    // An attempt that was lost and started again keeps its beginning.
    const before = sameRollout(known?.rollout, status) ? known?.rollout : undefined;
    const { startedAt } = before ?? {};
    const rollout = {
      ...status,
      ...asWritten(status),
      ...(status.phase === 'Planning' ? beginningOf(view, spec, before, now) : {}),
      ...(final ? { finishedAt: now } : {}),
    };
    const { nextWindow: _nextWindow, ...ended } = status;
    const past = { ...ended, finishedAt: now, ...(startedAt === undefined ? {} : { startedAt }) };
    const history = final ? { history: remember(known?.history, pastAttempt(past, Date.now())) } : {};
    await patchNodeOpUpgradeStatus(
      view.client,
      namespace,
      name,
      { metadata: { uid }, status: { rollout, ...history } },
      ROLLOUT_FIELD_MANAGER,
    );
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict') && !goesWithItsNamespace(view, namespace, error)) throw error;
  }
}

/**
 * What is not there any more is cleared, since a merge patch keeps what it does not name, and what is too long is cut.
 */
const asWritten = ({ message, failed, paused, approval, skipped, leavingOut, ...status }: Changing) => ({
  message: message?.slice(0, 4000),
  ...(failed === undefined ? {} : { failed: failed.map(shortened) }),
  paused: paused ?? null,
  approval: approval ?? null,
  skipped: skipped ?? null,
  leavingOut: leavingOut ?? null,
  soakUntil: status.soakUntil ?? null,
  ...(status.verdicts === undefined ? {} : { verdicts: counted(status.verdicts) }),
  ...(status.verdictsBefore === undefined ? {} : { verdictsBefore: counted(status.verdictsBefore) }),
});

/** The same for counts, such as that of a failed node which was tried again. */
const counted = (verdicts: Record<string, number>): Record<string, number | null> => ({
  ...Object.fromEntries(VERDICTS.map((verdict) => [verdict, null])),
  ...verdicts,
});

const shortened = ({ message, ...node }: FailedInStatus): FailedInStatus => ({
  ...node,
  ...(message === undefined ? {} : { message: message.slice(0, LONGEST_FAILURE) }),
});

const statusOf = async (view: ClusterView, namespace: string, name: string) =>
  (await readNodeOpUpgrade(view.client, namespace, name)).status;

const sameRollout = (
  one: RolloutStatus | undefined,
  { generation, attempt }: Pick<RolloutStatus, 'generation' | 'attempt'>,
) => one?.generation === generation && one.attempt === attempt;
