import { defined } from './defined.ts';
import type { RawMetadata, RawObject } from './raw-object.ts';

export interface ContainerView {
  name: string;
  image: string;
  /** What the runtime pulled, such as `docker.io/library/x@sha256:…`; absent until it has. */
  imageID?: string;
  waiting?: { reason: string; message: string };
  running: boolean;
  /** The times are the node's (RFC 3339). */
  terminated?: { exitCode: number; reason?: string; message?: string; startedAt?: string; finishedAt?: string };
  /** Whether it has ever begun to run: a running, ended or restarted container. */
  started: boolean;
  restarts: number;
}

export interface PodView {
  name: string;
  namespace: string;
  uid: string;
  labels: Record<string, string>;
  /** Only those of this project: kairos.io/…. */
  annotations: Record<string, string>;
  nodeName: string;
  phase: string;
  ready: boolean;
  reason?: string;
  message?: string;
  deleting: boolean;
  /** When it should be gone, its grace period included; absent where it is not being deleted. */
  deletionTimestamp?: string;
  creationTimestamp: string;
  containers: ContainerView[];
  /** The controller's kind: DaemonSet, ReplicaSet, Job, … */
  ownerKind?: string;
  owner?: { kind: string; name: string; uid: string };
  /** A static pod: the API server holds only its picture, and cannot evict it. */
  mirror: boolean;
  hasEmptyDir: boolean;
  /** Names of the PersistentVolumeClaims that it mounts. */
  volumesClaims: string[];
}

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
const OWN_PREFIX = 'kairos.io/';

interface PodSpec {
  nodeName?: string;
  containers?: { name: string; image?: string }[];
  volumes?: { name: string; emptyDir?: unknown; persistentVolumeClaim?: { claimName: string }; ephemeral?: unknown }[];
}
interface PodStatus {
  phase?: string;
  reason?: string;
  message?: string;
  conditions?: { type: string; status: string }[];
  containerStatuses?: ContainerStatus[];
}
interface ContainerStatus {
  name: string;
  image?: string;
  imageID?: string;
  restartCount?: number;
  state?: ContainerState;
  lastState?: ContainerState;
}
interface ContainerState {
  waiting?: { reason?: string; message?: string };
  running?: unknown;
  terminated?: {
    exitCode?: number;
    reason?: string;
    message?: string;
    startedAt?: string | null;
    finishedAt?: string | null;
  };
}

export function podView({ metadata, spec, status }: RawObject): PodView {
  const { nodeName = '', containers = [], volumes = [] } = (spec ?? {}) as PodSpec;
  const { phase = 'Pending', reason, message, containerStatuses = [], conditions = [] } = (status ?? {}) as PodStatus;
  const { name, namespace = '', uid, labels = {}, annotations = {}, creationTimestamp = '' } = metadata;
  return {
    name,
    namespace,
    uid,
    labels,
    annotations: Object.fromEntries(Object.entries(annotations).filter(([key]) => key.startsWith(OWN_PREFIX))),
    nodeName,
    phase,
    ready: conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
    ...defined({ reason, message }),
    deleting: metadata.deletionTimestamp !== undefined,
    ...defined({ deletionTimestamp: metadata.deletionTimestamp }),
    creationTimestamp,
    containers: containers.map(({ name, image = '' }) =>
      containerView(name, image, containerStatuses.find((status) => status.name === name) ?? { name }),
    ),
    ...ownerOf(metadata),
    mirror: MIRROR_ANNOTATION in annotations,
    hasEmptyDir: volumes.some(({ emptyDir }) => emptyDir !== undefined),
    volumesClaims: volumes.flatMap((volume) => claimsOf(name, volume)),
  };
}

function ownerOf({ ownerReferences = [] }: RawMetadata): Pick<PodView, 'owner' | 'ownerKind'> {
  const owner = ownerReferences.find(({ controller }) => controller === true);
  if (owner === undefined) return {};
  const { kind, name, uid } = owner;
  return { ownerKind: kind, owner: { kind, name, uid } };
}

/** The claim of a generic ephemeral volume is called after the pod and the volume. */
function claimsOf(pod: string, volume: NonNullable<PodSpec['volumes']>[number]): string[] {
  if (volume.persistentVolumeClaim !== undefined) return [volume.persistentVolumeClaim.claimName];
  return volume.ephemeral === undefined ? [] : [`${pod}-${volume.name}`];
}

function containerView(name: string, image: string, status: ContainerStatus): ContainerView {
  const { state = {}, lastState = {}, imageID, restartCount: restarts = 0 } = status;
  const ended = state.terminated ?? lastState.terminated;
  return {
    name,
    image,
    ...defined({
      imageID: imageID || undefined,
      waiting: state.waiting && waitingView(state.waiting),
      terminated: state.terminated && terminatedView(state.terminated),
    }),
    running: state.running !== undefined,
    started: state.running !== undefined || restarts > 0 || (ended !== undefined && !neverStarted(ended)),
    restarts,
  };
}

const waitingView = ({ reason = '', message = '' }: NonNullable<ContainerState['waiting']>) => ({ reason, message });

const terminatedView = ({ exitCode = 0, ...told }: NonNullable<ContainerState['terminated']>) => ({
  exitCode,
  ...defined({
    reason: told.reason,
    message: told.message,
    startedAt: told.startedAt ?? undefined,
    finishedAt: told.finishedAt ?? undefined,
  }),
});

/** The runtime says `StartError` when it could not start the process at all; anything else may have run. */
function neverStarted({ reason }: { reason?: string }): boolean {
  return reason === 'StartError' || reason === 'ContainerCannotRun';
}
