import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { NodeRef, PulledInVain, RolloutContext, Target } from '../api/messages.ts';
import type { RolloutSpec } from '../api/rollout-spec.ts';
import { isReason } from '../kube/errors.ts';
import { patchKairosNodeStatus } from '../kube/kairos-nodes.ts';
import { createPod, deletePod, type ContainerView, type PodView } from '../kube/pods.ts';
import { formatDuration } from '../policy/duration.ts';
import { pinnedReference } from '../policy/image-identity.ts';
import { hopelessPull, type HopelessPull } from '../policy/pull-trouble.ts';
import { pickReleaseFields, versionOf } from '../policy/release.ts';
import { rolloutWait } from '../policy/rollout-wait.ts';
import { canaryRefusal, skewRefusal } from '../policy/skew.ts';
import { supersededText } from '../policy/superseded.ts';
import { nextOpening } from '../policy/windows.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { controlPlaneVersions } from './control-plane.ts';
import { TRUSTED_BOOT_CONTAINER, prePullPod } from './manifests.ts';
import { NodeGone, whileThere } from './node-there.ts';
import { showRolloutWait } from './rollout-waits.ts';
import { selectNodes } from './selection.ts';
import { readSuperseded } from './superseded.ts';
import { onTrustedBoot } from './trusted-boot.ts';
import { DeadlinePassed, pause, waitInActivity } from './waiting.ts';
import { closedForPulls } from './window-gate.ts';

/** How often it is looked whether a window is open; at the moment it opens in any case. */
const LOOK_MS = 30_000;
/** How often a pod that pulls an image, or keeps it, is made again, where it is refused or deleted. */
const REMAKE_EVERY_MS = 5_000;

/** `again`: what is on the node differs from what other nodes got. The registry is asked, whatever the node has. */
type PrePull = RolloutContext & { node: NodeRef; again?: boolean };

/**
 * Brings the image to the node and reads what is inside it, before anything is disrupted: a plain pod copies the
 * release files to its termination log. The pod stays until the node ends: as long as it is there, kubelet keeps its
 * containers, and image garbage collection spares what a container uses. Repeating it finds the same pod. On
 * a node that is gone it ends at once, and so it does on one that is left to another NodeOpUpgrade: nothing is pulled that
 * nobody wants. Where pulls are only for windows it waits for one first, which does not count for its deadline.
 * @throws ApplicationFailure `PrePullFailed`, `NotAKairosImage`, `WrongArchitecture`, `NoTrustedBoot` (not retried): the node ends as Failed
 */
export async function prePullImage(view: ClusterView, input: PrePull): Promise<Target | PulledInVain> {
  assertCluster(view, input.cluster);
  const { node, spec } = input;
  const left = leftToOthers(view, input);
  if (left !== undefined) return left;
  const trustedBoot = onTrustedBoot(view, node.name);
  const manifest = prePullPod(input, node, { again: input.again === true, trustedBoot });
  const { namespace, name } = manifest.metadata;
  let lastWords = 'the pod has not started';
  try {
    const pull = async (signal: AbortSignal): Promise<Target | PulledInVain> => {
      if (await waitForWindow(view, input, signal)) {
        const leftSince = leftToOthers(view, input);
        if (leftSince !== undefined) return leftSince;
      }
      for (;;) {
        await createPod(view.client, namespace, manifest);
        let seen = false;
        const pod = await view.pods.waitFor(
          `${namespace}/${name}`,
          (now) => {
            seen ||= now !== undefined;
            if (now === undefined && seen) return 'Deleted';
            const words = now === undefined ? undefined : waitingFor(now);
            if (words !== undefined && saysMore(words, lastWords)) {
              lastWords = words;
              void tell(view, node, `pulling ${spec.image}: ${words}`);
            }
            return now !== undefined && (hasEnded(now) || troubleOf(now) !== undefined) ? now : undefined;
          },
          signal,
        );
        // By a person, or by the end of a node that another rollout had in hand: it is made again.
        if (pod === 'Deleted') {
          lastWords = 'its pod was deleted, and is made again';
          await pause(REMAKE_EVERY_MS, signal);
          continue;
        }
        const trouble = troubleOf(pod);
        if (trouble !== undefined) throw failure(input, trouble);
        if (pod.containers.some((container) => container.terminated !== undefined))
          return await readTarget(view, input, pod);
        // The kubelet refused the pod (no CPU, no place for pods): the next one may fit.
        lastWords = `${pod.reason ?? 'refused by the kubelet'}: ${pod.message ?? ''}`;
        await deletePod(view.client, namespace, name, { uid: pod.uid, gracePeriodSeconds: 0 });
        await view.pods.waitFor(`${namespace}/${name}`, (now) => (now?.uid === pod.uid ? undefined : true), signal);
      }
    };
    return await waitInActivity(pullDeadlineMs(spec), (signal) => whileThere(view, node, signal, pull));
  } catch (error) {
    if (error instanceof NodeGone) {
      await deletePod(view.client, namespace, name, { gracePeriodSeconds: 0 });
      return { gone: true, message: error.message };
    }
    // What the pull waited for is over, however it ended; the verdict is the rollout's to say.
    await tell(view, node, null).catch(() => undefined);
    if (!(error instanceof DeadlinePassed)) throw error;
    const message = `image ${spec.image} was not pulled on node ${node.name} within ${formatDuration(spec.prePullTimeoutMs)}: ${lastWords}; the node was not touched: check spec.image, spec.imagePullSecrets, and that the node reaches the registry`;
    throw ApplicationFailure.nonRetryable(message, 'PrePullFailed');
  }
}

/** That a newer NodeOpUpgrade wants the node with another image. */
function leftToOthers(view: ClusterView, input: PrePull): PulledInVain | undefined {
  const node = sameNode(view, input.node);
  const winner = node && readSuperseded(view, input, node);
  return winner && { supersededBy: winner.by, message: supersededText(input.node.name, winner) };
}

/** Waits until a pull may begin; answers whether that took any time. */
async function waitForWindow(view: ClusterView, input: PrePull, signal: AbortSignal): Promise<boolean> {
  const { node, spec } = input;
  let waited = false;
  for (let closed = closedForPulls(spec); closed !== undefined; closed = closedForPulls(spec)) {
    if (!waited) {
      void tell(view, node, `pulling ${spec.image}: waits, ${closed.reason} (strategy.prePull.when)`).catch(
        () => undefined,
      );
      void showRolloutWait(view, input, rolloutWait(closed));
    }
    waited = true;
    await pause(Math.min(LOOK_MS, Math.max(1, (closed.opensAtMs ?? Infinity) - Date.now())), signal);
  }
  if (!waited) return false;
  void showRolloutWait(view, input, undefined);
  await tell(view, node, null).catch(() => undefined);
  return true;
}

/** When a pull must be over, counted from when it was asked for: its time begins when a window lets it begin. */
function pullDeadlineMs({ windows = [], prePullWhen, prePullTimeoutMs }: RolloutSpec): number {
  const askedMs = Context.current().info.scheduledTimestampMs;
  const opensAtMs = prePullWhen === 'WindowOpen' ? nextOpening(windows, askedMs) : undefined;
  return prePullTimeoutMs + (opensAtMs === undefined ? 0 : opensAtMs - askedMs);
}

const hasEnded = ({ phase }: PodView) => phase === 'Succeeded' || phase === 'Failed';

/**
 * Why the image of a node that was pulled before may be gone, or undefined: the pod that kept it there was deleted, and
 * the one in its place has not ended. `target`: what was read of it then.
 */
export function imageMissing(
  view: ClusterView,
  context: RolloutContext & { node: NodeRef; target?: Target },
): string | undefined {
  const { node, spec, target } = context;
  const pods = [prePullPod(context, node), prePullPod(context, node, { again: true })].flatMap(
    ({ metadata }) => view.pods.get(`${metadata.namespace}/${metadata.name}`) ?? [],
  );
  if (pods.some((pod) => hasEnded(pod) && !pod.deleting && keeps(pod, target))) return undefined;
  const words = pods.flatMap((pod) => waitingFor(pod) ?? [])[0];
  return `the pod that keeps ${spec.image} on node ${node.name} was deleted: it is pulled again${words === undefined ? '' : `: ${words}`}`;
}

const keeps = ({ containers }: PodView, target: Target | undefined) =>
  containers.some(
    ({ terminated, imageID, image }) =>
      terminated !== undefined &&
      (target === undefined || image === target.pinned || (imageID !== undefined && imageID === target.imageID)),
  );

/** Makes the pod that keeps the image of a node again, where somebody deleted it while the node waits. */
export class ImageKeeper {
  readonly #view: ClusterView;
  readonly #context: RolloutContext & { node: NodeRef; target?: Target };
  #notBeforeMs = 0;

  constructor(view: ClusterView, context: RolloutContext & { node: NodeRef; target?: Target }) {
    this.#view = view;
    this.#context = context;
  }

  /**
   * Makes it where there is none, by the digest that was read before, where that is known: the tag may have moved since.
   * Whichever gate the node waits at, so that it need not wait for the image as well. Best effort, at most every few
   * seconds, and in a window where pulls are only for windows: as long as it is missing the gate of the image is closed,
   * and says so.
   */
  look(): void {
    const { target, node } = this.#context;
    if (Date.now() < this.#notBeforeMs) return;
    if (closedForPulls(this.#context.spec) !== undefined) return;
    if (imageMissing(this.#view, this.#context) === undefined) return;
    this.#notBeforeMs = Date.now() + REMAKE_EVERY_MS;
    const manifest = prePullPod(this.#context, node, target === undefined ? {} : { image: target.pinned });
    void this.#make(manifest).catch(() => undefined);
  }

  async #make(manifest: ReturnType<typeof prePullPod>): Promise<void> {
    const { client, pods } = this.#view;
    const { namespace, name } = manifest.metadata;
    const now = pods.get(`${namespace}/${name}`);
    // Refused by the kubelet, or with another image: the next one takes its place.
    if (now !== undefined && hasEnded(now) && !now.deleting)
      await deletePod(client, namespace, name, { uid: now.uid, gracePeriodSeconds: 0 });
    if (now === undefined) await createPod(client, namespace, manifest);
  }
}

/** Whether these words tell more than the last ones: a back-off only says that what went wrong is tried again. */
function saysMore(words: string, last: string): boolean {
  return words !== last && !(words.startsWith('ImagePullBackOff') && last.startsWith('ErrImagePull'));
}

function waitingFor(pod: PodView): string | undefined {
  const waiting = pod.containers.find((container) => container.waiting !== undefined)?.waiting;
  return waiting === undefined ? undefined : `${waiting.reason} ${waiting.message}`.trim();
}

interface Trouble {
  type: HopelessPull;
  words: string;
}

/** What ends a pull before its deadline. */
function troubleOf(pod: PodView): Trouble | undefined {
  return pod.containers.map(troubleIn).find((trouble) => trouble !== undefined);
}

function troubleIn({ waiting, terminated }: ContainerView): Trouble | undefined {
  const state = waiting ?? terminated;
  const type = state === undefined ? undefined : hopelessPull(state);
  return state === undefined || type === undefined
    ? undefined
    : { type, words: `${state.reason ?? ''} ${state.message ?? ''}`.trim() };
}

function failure({ spec, node }: PrePull, { type, words }: Trouble): ApplicationFailure {
  const say = (text: string) =>
    ApplicationFailure.nonRetryable(`${text}; the node was not touched (${words.slice(0, 500)})`, type);
  switch (type) {
    case 'WrongArchitecture':
      return say(
        `image ${spec.image} is for another architecture than node ${node.name}: give each architecture its own NodeOpUpgrade, or publish a manifest list`,
      );
    case 'NotAKairosImage':
      return say(`image ${spec.image} has no program cp: it is not a Kairos image`);
    case 'PrePullFailed':
      return say(`image ${spec.image} cannot be pulled on node ${node.name}: correct spec.image`);
  }
}

/**
 * Best effort: what the pull waits for is worth showing, but not worth failing for. A node that another rollout has in
 * hand says what that does.
 */
async function tell(view: ClusterView, node: NodeRef, message: string | null): Promise<void> {
  if (view.kairosNodes.get(node.name)?.status.inHand !== undefined) return;
  try {
    await patchKairosNodeStatus(view.client, node.name, { message: message?.slice(0, 4000) ?? null });
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict', 'Unreachable', 'Timeout', 'TooManyRequests', 'ServerTimeout'))
      throw error;
  }
}

async function readTarget(view: ClusterView, { spec, node }: PrePull, pod: PodView): Promise<Target> {
  const text = (name: string) => {
    const ended = pod.containers.find((container) => container.name === name)?.terminated;
    return ended?.exitCode === 0 ? ended.message : undefined;
  };
  const fields = pickReleaseFields(text('kairos-release'), text('os-release'));
  const version = fields === undefined ? undefined : versionOf(fields);
  if (fields === undefined || version === undefined) {
    throw ApplicationFailure.nonRetryable(
      `image ${spec.image} has no readable Kairos release file: it is not a Kairos image; the node was not touched`,
      'NotAKairosImage',
    );
  }
  const trusted = pod.containers.find(({ name }) => name === TRUSTED_BOOT_CONTAINER)?.terminated;
  if (trusted !== undefined && trusted.exitCode !== 0) {
    throw ApplicationFailure.nonRetryable(
      `image ${spec.image} cannot upgrade node ${node.name}, which has trusted boot: it lacks /trusted-boot with the signed EFI files, or a shell (/bin/sh); the node was not touched: add the files that were made from this image at /trusted-boot of it, as Kairos documents for trusted boot`,
      'NoTrustedBoot',
    );
  }
  const imageID = pod.containers.map((container) => container.imageID).find((found) => found !== undefined);
  const digest = /sha256:[0-9a-f]{64}/.exec(imageID ?? '')?.[0];
  const refused = await refusedForAll(view, spec, node, fields);
  return {
    image: spec.image,
    pinned: pinnedReference(spec.image, imageID),
    architecture:
      fields['KAIROS_TARGETARCH'] ?? fields['KAIROS_ARCH'] ?? sameNode(view, node)?.architecture ?? 'unknown',
    version,
    fields,
    ...(digest === undefined ? {} : { digest }),
    ...(imageID === undefined ? {} : { imageID }),
    ...(refused === undefined ? {} : { refused }),
  };
}

/**
 * Why the skew policy keeps the image from every worker, not only from this one. Workers are pulled for when the control
 * plane of their rollout is done, so nothing of it will change that; but for one that goes before it.
 */
async function refusedForAll(
  view: ClusterView,
  spec: RolloutSpec,
  node: NodeRef,
  fields: Record<string, string>,
): Promise<string | undefined> {
  const seen = sameNode(view, node);
  if (seen === undefined || seen.controlPlane) return undefined;
  const versions = await controlPlaneVersions(view);
  const kubernetes = fields['KAIROS_SOFTWARE_VERSION'];
  const goesFirst = spec.canaryWorkerFirst === true && selectNodes(view, spec).some((node) => node.controlPlane);
  const early = goesFirst ? canaryRefusal(versions, kubernetes) : undefined;
  return early ?? skewRefusal('worker', versions, seen.kubeletVersion, kubernetes);
}
