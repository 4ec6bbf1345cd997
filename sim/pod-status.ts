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
  const { metadata } = object;
  const spec = object.spec as PodSpec;
  const status = (object.status ?? {}) as PodStatus;
  const container = spec.containers[0];
  const env = (container?.env ?? []).filter(({ value }) => value !== undefined);
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    uid: metadata.uid,
    node: spec.nodeName ?? '',
    step: metadata.labels?.[stepLabel],
    deleting: metadata.deletionTimestamp !== undefined,
    phase: status.phase ?? 'Pending',
    restartPolicy: spec.restartPolicy ?? 'Always',
    container: {
      name: container?.name ?? '',
      image: container?.image ?? '',
      command: [...(container?.command ?? []), ...(container?.args ?? [])],
      env: Object.fromEntries(env.map(({ name, value }) => [name, value ?? ''])),
      terminationMessagePolicy: container?.terminationMessagePolicy ?? 'File',
    },
    containers: spec.containers.length,
    restarts: status.containerStatuses?.[0]?.restartCount ?? 0,
    startTime: status.startTime,
  };
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
  const terminated = (container: ContainerStatus): object => ({
    terminated: { ...LOST, startedAt: container.state?.running?.startedAt ?? now(), finishedAt: now() },
  });
  const containerStatuses = before.map((container) => {
    if (container.state?.terminated !== undefined) return container;
    const down = { ...container, ready: false, started: false };
    if (never) return { ...down, state: terminated(container) };
    return {
      ...down,
      restartCount: container.restartCount + 1,
      state: { waiting: { reason: 'ContainerCreating' } },
      lastState: terminated(container),
    };
  });
  return {
    phase: never ? 'Failed' : 'Running',
    conditions: readiness(false, never ? 'PodFailed' : 'ContainersNotReady'),
    containerStatuses,
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
