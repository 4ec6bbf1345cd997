import type { RawObject } from '../kube/raw-object.ts';

/** The parts of a pod that a kubelet works with. */
export interface KubeletPod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly node: string;
  /** Value of the step label; undefined for a pod that is not the operator's. */
  readonly step: string | undefined;
  readonly deleting: boolean;
  /** How long it may take to stop, once it is deleted. */
  readonly graceSeconds: number;
  readonly phase: string;
  readonly restartPolicy: string;
  readonly container: KubeletContainer;
  readonly containers: number;
  readonly restarts: number;
  readonly startTime: string | undefined;
}

interface KubeletContainer {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly terminationMessagePolicy: string;
}

export type ContainerState =
  | { readonly waiting: { readonly reason: string; readonly message?: string } }
  | { readonly running: { readonly startedAt: string } }
  | { readonly terminated: Terminated };

export interface Terminated {
  readonly exitCode: number;
  readonly reason: string;
  readonly message?: string;
  readonly startedAt?: string;
  readonly finishedAt?: string;
}

interface PodSpec {
  nodeName?: string;
  restartPolicy?: string;
  containers: {
    name: string;
    image: string;
    command?: string[];
    args?: string[];
    env?: { name: string; value?: string }[];
    terminationMessagePolicy?: string;
  }[];
}

interface PodStatus {
  phase?: string;
  startTime?: string;
  containerStatuses?: ContainerStatus[];
}

interface ContainerStatus {
  name: string;
  image: string;
  imageID: string;
  ready: boolean;
  started?: boolean;
  restartCount: number;
  state?: { waiting?: object; running?: { startedAt?: string }; terminated?: object };
  lastState?: object;
}

/** What a machine lost with its power: exit code and reason that kubelet gives to containers it cannot ask any more. */
const LOST = { exitCode: 255, reason: 'Unknown' } as const;

export function kubeletPod(object: RawObject, stepLabel: string): KubeletPod {
  const { name, namespace = '', uid, labels = {}, deletionTimestamp, deletionGracePeriodSeconds = 0 } = object.metadata;
  const { nodeName = '', restartPolicy = 'Always', containers } = object.spec as PodSpec;
  const { phase = 'Pending', containerStatuses = [], startTime } = (object.status ?? {}) as PodStatus;
  return {
    name,
    namespace,
    uid,
    node: nodeName,
    step: labels[stepLabel],
    deleting: deletionTimestamp !== undefined,
    graceSeconds: deletionGracePeriodSeconds,
    phase,
    restartPolicy,
    container: kubeletContainer(containers[0]),
    containers: containers.length,
    restarts: containerStatuses[0]?.restartCount ?? 0,
    startTime,
  };
}

/** Variables that are taken from elsewhere are left out: no step of ours has one. */
function kubeletContainer(container: Partial<PodSpec['containers'][number]> = {}): KubeletContainer {
  const { name = '', image = '', command = [], args = [], env = [], terminationMessagePolicy = 'File' } = container;
  const given = env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value] as const]));
  return { name, image, command: [...command, ...args], env: Object.fromEntries(given), terminationMessagePolicy };
}

/** The status of a pod of one container. */
export function podStatus(
  pod: KubeletPod,
  phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed',
  container: { state: ContainerState; imageID: string; restarts: number; lastState?: Terminated },
): object {
  const running = 'running' in container.state;
  return {
    phase,
    startTime: pod.startTime ?? now(),
    conditions: readiness(running, phase === 'Succeeded' || phase === 'Failed' ? 'PodCompleted' : 'ContainersNotReady'),
    containerStatuses: [
      {
        name: pod.container.name,
        image: pod.container.image,
        imageID: container.imageID,
        ready: running,
        started: running,
        restartCount: container.restarts,
        state: container.state,
        ...(container.lastState && { lastState: { terminated: container.lastState } }),
      },
    ],
  };
}

/**
 * The status that a pod has once its machine is on again, undefined when nothing in it was running. Containers are
 * Failed for good where the pod never restarts; else counted as restarted and waiting for that.
 */
export function statusAfterPowerLoss(object: RawObject): object | undefined {
  const spec = object.spec as PodSpec;
  const status = (object.status ?? {}) as PodStatus;
  const before = status.containerStatuses ?? [];
  if (status.phase !== 'Running' || before.length === 0) return undefined;
  const never = spec.restartPolicy === 'Never';
  return {
    phase: never ? 'Failed' : 'Running',
    conditions: readiness(false, never ? 'PodFailed' : 'ContainersNotReady'),
    containerStatuses: before.map((container) => containerAfterPowerLoss(container, never)),
  };
}

function containerAfterPowerLoss(container: ContainerStatus, never: boolean): ContainerStatus {
  if (container.state?.terminated !== undefined) return container;
  const startedAt = container.state?.running?.startedAt ?? now();
  const lost = { terminated: { ...LOST, startedAt, finishedAt: now() } };
  const down = { ...container, ready: false, started: false };
  if (never) return { ...down, state: lost };
  return {
    ...down,
    restartCount: container.restartCount + 1,
    state: { waiting: { reason: 'ContainerCreating' } },
    lastState: lost,
  };
}

function readiness(ready: boolean, reason: string): object[] {
  const condition = (type: string, status: boolean): object => ({
    type,
    status: status ? 'True' : 'False',
    lastTransitionTime: now(),
    ...(status ? {} : { reason }),
  });
  return [
    condition('Initialized', true),
    condition('PodScheduled', true),
    condition('ContainersReady', ready),
    condition('Ready', ready),
  ];
}

/** In whole seconds, as Kubernetes writes it. */
export function now(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z');
}
