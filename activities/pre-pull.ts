import { ApplicationFailure } from '@temporalio/common';
import type { NodeRef, PulledInVain, RolloutContext, Target } from '../api/messages.ts';
import { isReason } from '../kube/errors.ts';
import { patchKairosNodeStatus } from '../kube/kairos-nodes.ts';
import { createPod, deletePod, type PodView } from '../kube/pods.ts';
import { formatDuration } from '../policy/duration.ts';
import { pickReleaseFields, versionOf } from '../policy/release.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { prePullPod } from './manifests.ts';
import { NodeGone, whileThere } from './node-there.ts';
import { DeadlinePassed, waitInActivity } from './waiting.ts';

/**
 * Brings the image to the node and reads what is inside it, before anything is disrupted: a plain pod copies the
 * release files to its termination log. The pod stays until the node ends, or image garbage collection might undo it.
 * Repeating it finds the same pod. On a node that is gone it ends at once.
 * @throws ApplicationFailure `PrePullFailed`, `NotAKairosImage`, `WrongArchitecture` (not retried): the node ends as Failed
 */
export async function prePullImage(
  view: ClusterView,
  input: RolloutContext & { node: NodeRef },
): Promise<Target | PulledInVain> {
  assertCluster(view, input.cluster);
  const { node, spec } = input;
  const manifest = prePullPod(input, node);
  const { namespace, name } = manifest.metadata;
  let lastWords = 'the pod has not started';
  try {
    const pull = async (signal: AbortSignal): Promise<Target> => {
      for (;;) {
        await createPod(view.client, namespace, manifest);
        const pod = await view.pods.waitFor(
          `${namespace}/${name}`,
          (now) => {
            const words = now === undefined ? undefined : waitingFor(now);
            if (words !== undefined && saysMore(words, lastWords)) {
              lastWords = words;
              void tell(view, node, `pulling ${spec.image}: ${words}`);
            }
            return now !== undefined && (now.phase === 'Succeeded' || now.phase === 'Failed') ? now : undefined;
          },
          signal,
        );
        if (pod.containers.some((container) => container.terminated !== undefined)) return readTarget(view, input, pod);
        // The kubelet refused the pod (no CPU, no place for pods): the next one may fit.
        lastWords = `${pod.reason ?? 'refused by the kubelet'}: ${pod.message ?? ''}`;
        await deletePod(view.client, namespace, name, { uid: pod.uid, gracePeriodSeconds: 0 });
        await view.pods.waitFor(`${namespace}/${name}`, (now) => (now?.uid === pod.uid ? undefined : true), signal);
      }
    };
    return await waitInActivity(spec.prePullTimeoutMs, (signal) => whileThere(view, node, signal, pull));
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

/** Whether these words tell more than the last ones: a back-off only says that what went wrong is tried again. */
const saysMore = (words: string, last: string): boolean =>
  words !== last && !(words.startsWith('ImagePullBackOff') && last.startsWith('ErrImagePull'));

function waitingFor(pod: PodView): string | undefined {
  const waiting = pod.containers.find((container) => container.waiting !== undefined)?.waiting;
  return waiting === undefined ? undefined : `${waiting.reason} ${waiting.message}`.trim();
}

/** Best effort: what the pull waits for is worth showing, but not worth failing for. */
async function tell(view: ClusterView, node: NodeRef, message: string | null): Promise<void> {
  try {
    await patchKairosNodeStatus(view.client, node.name, { message: message?.slice(0, 4000) ?? null });
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict', 'Unreachable', 'Timeout', 'TooManyRequests', 'ServerTimeout'))
      throw error;
  }
}

function readTarget(view: ClusterView, { spec, node }: RolloutContext & { node: NodeRef }, pod: PodView): Target {
  const text = (name: string) => {
    const ended = pod.containers.find((container) => container.name === name)?.terminated;
    return ended?.exitCode === 0 ? ended.message : undefined;
  };
  const words = pod.containers.map((container) => container.terminated?.message ?? '').join(' ');
  if (words.includes('exec format error')) {
    throw ApplicationFailure.nonRetryable(
      `image ${spec.image} is for another architecture than node ${node.name}: give each architecture its own NodeOpUpgrade, or publish a manifest list`,
      'WrongArchitecture',
    );
  }
  const fields = pickReleaseFields(text('kairos-release'), text('os-release'));
  const version = fields === undefined ? undefined : versionOf(fields);
  if (fields === undefined || version === undefined) {
    throw ApplicationFailure.nonRetryable(
      `image ${spec.image} has no readable Kairos release file: it is not a Kairos image; the node was not touched`,
      'NotAKairosImage',
    );
  }
  const digest = pod.containers
    .map((container) => /sha256:[0-9a-f]{64}/.exec(container.imageID ?? '')?.[0])
    .find((found) => found !== undefined);
  return {
    image: spec.image,
    pinned: spec.image,
    architecture:
      fields['KAIROS_TARGETARCH'] ?? fields['KAIROS_ARCH'] ?? sameNode(view, node)?.architecture ?? 'unknown',
    version,
    fields,
    ...(digest === undefined ? {} : { digest }),
  };
}
