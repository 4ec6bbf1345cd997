import { setTimeout as sleep } from 'node:timers/promises';
import { STEP_LABEL } from '../api/names.ts';
import type { KubeClient } from '../kube/client.ts';
import { listAll } from '../kube/list.ts';
import type { RawObject } from '../kube/raw-object.ts';
import { startReflector } from '../kube/reflector.ts';
import type { ImageRegistry, RegisteredImage } from './images.ts';
import type { ContainerExit, RunningContainer } from './machine-process.ts';
import type { Machine } from './machine.ts';
import { kubeletPod, now, podStatus, statusAfterPowerLoss, type KubeletPod, type Terminated } from './pod-status.ts';
import { KUBELET_WATCH, inBackground, untilWritten } from './retry.ts';
import type { Timings } from './timings.ts';

export interface KubeletOptions {
  readonly client: KubeClient;
  readonly images: ImageRegistry;
  readonly timings: Timings;
  machine(node: string): Machine | undefined;
  readonly onError: (error: unknown) => void;
}

/** The kubelets of all machines, as far as kwok is not: pods of an upgrade are run for real, one watch serves all. */
export interface Kubelets {
  synced(): Promise<void>;
  /** A machine runs: settles what its power loss left behind, then runs the node's pods until `signal` is aborted. */
  nodeUp(node: string, signal: AbortSignal): Promise<void>;
  stop(): void;
}

/** A pod that runs, or has run, in this boot of its machine. */
interface Handled {
  readonly node: string;
  readonly end: AbortController;
  /** Its container, while there is one. */
  running?: RunningContainer;
  /** It is on its way out: what ends now is not started again. */
  leaves: boolean;
  /** Resolves when its last status is written. */
  done: Promise<void>;
}

/** A tenth of kubelet's own, whose back-off begins with 10 s: time is short in a simulation. */
const RESTART_BACKOFF_MS = 1000;
const LONGEST_BACKOFF_MS = 30_000;
const TERMINATION_MESSAGE_BYTES = 4096;

export function startKubelets(options: KubeletOptions): Kubelets {
  const { client, images, timings } = options;
  const nodesUp = new Map<string, AbortSignal>();
  /** By the pod's UID: what runs, or has run, in this boot of its machine. */
  const handled = new Map<string, Handled>();
  /** Images that a pre-pull, or an earlier pod, brought to a node. They outlive a reboot. */
  const pulled = new Set<string>();

  const pods = startReflector<KubeletPod>(client, {
    path: '/api/v1/pods',
    query: { labelSelector: STEP_LABEL },
    project: (object) => kubeletPod(object, STEP_LABEL),
    timings: KUBELET_WATCH,
  });
  pods.onChange((_key, pod, before) => {
    if (pod !== undefined) consider(pod);
    else if (before !== undefined) handled.get(before.uid)?.end.abort();
  });

  function consider(pod: KubeletPod): void {
    const image = images.find(pod.container.image);
    if (pod.step === 'pre-pull') {
      if (pod.phase === 'Succeeded' && image !== undefined) pulled.add(`${pod.node} ${image.digest}`);
      return;
    }
    const boot = nodesUp.get(pod.node);
    if (boot === undefined || boot.aborted) return;
    if (pod.deleting) {
      inBackground(remove(pod, boot), boot, options.onError);
      return;
    }
    // A pod that was Running before this boot and never restarts is being marked as Failed.
    const due = pod.phase === 'Pending' || (pod.phase === 'Running' && pod.restartPolicy !== 'Never');
    if (!due || handled.has(pod.uid)) return;
    const end = new AbortController();
    const signal = AbortSignal.any([boot, end.signal]);
    const one: Handled = { node: pod.node, end, leaves: false, done: Promise.resolve() };
    handled.set(pod.uid, one);
    const run = runPod(pod, image, one, signal);
    one.done = run.catch(() => undefined);
    inBackground(run, signal, options.onError);
  }

  async function runPod(
    pod: KubeletPod,
    image: RegisteredImage | undefined,
    one: Handled,
    signal: AbortSignal,
  ): Promise<void> {
    if (image === undefined) return refuse(pod, signal);
    const have = `${pod.node} ${image.digest}`;
    await sleep(timings.podStartMs + (pulled.has(have) ? 0 : timings.pullMs), undefined, { signal });
    pulled.add(have);
    let lastState: Terminated | undefined;
    for (let restarts = pod.restarts; ; restarts++) {
      const startedAt = now();
      const exit = runContainer(pod, image, one, signal);
      const imageID = image.imageID;
      const shown = { imageID, restarts, ...(lastState && { lastState }) };
      await writeStatus(pod, podStatus(pod, 'Running', { ...shown, state: { running: { startedAt } } }), signal);
      const ended = await exit;
      if (ended === undefined) return;
      const terminated = describeExit(pod, ended, startedAt);
      const wanted = pod.restartPolicy === 'Always' || (pod.restartPolicy === 'OnFailure' && ended.exitCode !== 0);
      if (!wanted || one.leaves) {
        const phase = ended.exitCode === 0 ? 'Succeeded' : 'Failed';
        await writeStatus(pod, podStatus(pod, phase, { ...shown, state: { terminated } }), signal);
        return;
      }
      lastState = terminated;
      const state = { waiting: { reason: 'CrashLoopBackOff' } };
      await writeStatus(pod, podStatus(pod, 'Running', { imageID, restarts, lastState, state }), signal);
      const times = restarts - pod.restarts;
      await sleep(Math.min(RESTART_BACKOFF_MS * 2 ** times, LONGEST_BACKOFF_MS), undefined, { signal });
    }
  }

  async function runContainer(
    pod: KubeletPod,
    image: RegisteredImage,
    one: Handled,
    signal: AbortSignal,
  ): Promise<ContainerExit | undefined> {
    const machine = options.machine(pod.node);
    if (machine === undefined || machine.bootID === undefined) return undefined;
    if (pod.containers > 1) {
      const terminationLog = 'the simulator runs pods of one container only';
      return { exitCode: 128, outOfMemory: false, terminationLog, output: '' };
    }
    const { command, env } = pod.container;
    const container = machine.run({
      command,
      env,
      imageFolder: image.folder,
      imageName: image.reference,
      upgradeMs: timings.upgradeMs,
    });
    one.running = container;
    signal.addEventListener('abort', () => container.kill(), { once: true });
    return container.ended;
  }

  async function refuse(pod: KubeletPod, signal: AbortSignal): Promise<void> {
    for (const reason of ['ErrImagePull', 'ImagePullBackOff']) {
      await sleep(timings.pullMs, undefined, { signal });
      const message = `image ${pod.container.image}: not found`;
      const state = { waiting: { reason, message } };
      await writeStatus(pod, podStatus(pod, 'Pending', { state, imageID: '', restarts: 0 }), signal);
    }
  }

  /**
   * SIGTERM, then the grace period. The pods of an upgrade share the host's processes: without a handler of their own
   * that signal ends them at once, and with one they go on.
   */
  async function remove(pod: KubeletPod, boot: AbortSignal): Promise<void> {
    const one = handled.get(pod.uid);
    if (one !== undefined) {
      if (one.leaves) return;
      one.leaves = true;
      one.running?.terminate();
      const over = new AbortController();
      const signal = AbortSignal.any([boot, over.signal]);
      const grace = sleep(pod.graceSeconds * 1000, false, { signal });
      const isOver = await Promise.race([one.done.then(() => true), grace]).finally(() => over.abort());
      one.end.abort();
      if (!isOver) {
        const state = { terminated: { exitCode: 137, reason: 'Error', finishedAt: now() } };
        await writeStatus(pod, podStatus(pod, 'Failed', { imageID: '', restarts: pod.restarts, state }), boot);
      }
    }
    await sleep(timings.podStopMs, undefined, { signal: boot });
    const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.uid } };
    await untilWritten(() => client.request({ verb: 'delete', path: podPath(pod), body }), boot);
  }

  async function writeStatus(
    pod: { namespace: string; name: string; uid: string },
    status: object,
    signal: AbortSignal,
  ) {
    // With the UID: a pod of the same name that was made in the meantime is another one.
    const body = { metadata: { uid: pod.uid }, status };
    const path = `${podPath(pod)}/status`;
    return untilWritten(() => client.request<RawObject>({ verb: 'merge-patch', path, body, signal }), signal);
  }

  async function settle(object: RawObject, signal: AbortSignal): Promise<RawObject> {
    const status = statusAfterPowerLoss(object);
    if (status === undefined) return object;
    const { name, namespace = '', uid } = object.metadata;
    return (await writeStatus({ name, namespace, uid }, status, signal)) ?? object;
  }

  return {
    synced: () => pods.synced(),
    async nodeUp(node, signal) {
      for (const [uid, pod] of handled) if (pod.node === node) handled.delete(uid);
      const found: RawObject[] = [];
      const query = { fieldSelector: `spec.nodeName=${node}` };
      const list = () => listAll(client, '/api/v1/pods', query, (object) => found.push(object), signal);
      await untilWritten(list, signal);
      const settled = await Promise.all(found.map((object) => settle(object, signal)));
      nodesUp.set(node, signal);
      for (const object of settled) {
        if (object.metadata.labels?.[STEP_LABEL] !== undefined) consider(kubeletPod(object, STEP_LABEL));
      }
      // What was bound to the node since the list came by the watch while nobody listened.
      for (const pod of pods.values()) if (pod.node === node && pod.phase === 'Pending') consider(pod);
    },
    stop() {
      pods.stop();
      for (const { end } of handled.values()) end.abort();
    },
  };
}

function describeExit(pod: KubeletPod, exit: ContainerExit, startedAt: string): Terminated {
  const failed = exit.exitCode !== 0;
  const fallBack = failed && pod.container.terminationMessagePolicy === 'FallbackToLogsOnError';
  const message = exit.terminationLog === '' && fallBack ? exit.output : exit.terminationLog;
  return {
    exitCode: exit.exitCode,
    reason: exit.outOfMemory ? 'OOMKilled' : failed ? 'Error' : 'Completed',
    startedAt,
    finishedAt: now(),
    ...(message === '' ? {} : { message: message.slice(-TERMINATION_MESSAGE_BYTES) }),
  };
}

function podPath(pod: { namespace: string; name: string }): string {
  return `/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`;
}
