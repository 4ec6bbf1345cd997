import { CONTROL_PLANE_LABELS, MANAGED_LABEL, OPERATOR_FIELD_MANAGER, OWNER_ANNOTATION } from '../api/names.ts';
import type { KubeClient } from './client.ts';
import { defined } from './defined.ts';
import type { RawObject } from './raw-object.ts';
import { type Origin, type Reflector, type ReflectorLog, type ReflectorTimings, startReflector } from './reflector.ts';

/** What the operator needs of a Node; a whole one is 20 kB, mostly names of images. */
export interface NodeView {
  name: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  labels: Record<string, string>;
  unschedulable: boolean;
  ready: boolean;
  /** Since when it is Ready, by the API server's or kubelet's clock. */
  readySince?: string;
  /** Since when it is not. */
  notReadySince?: string;
  bootID: string;
  kubeletVersion: string;
  architecture: string;
  controlPlane: boolean;
  /** k3s and RKE2 say on the Node whether its etcd member votes. It stays true on nodes that are down. */
  etcdVoter?: boolean;
  /** The owner annotation: a workflow id, or `held:<verdict>`. */
  owner?: string;
  /**
   * When this owner took the node: the resourceVersion (a number, growing over all objects) of the watch event that
   * first carried it; 0 when a list brought the node as it is, which means "before everything": the mark may have been
   * taken back and set again since it was last seen. Two owners with the same order count as before each other. Absent
   * from live reads.
   */
  ownerOrder?: number;
  /** Since when it is cordoned, where the taint that follows a cordon says so. */
  cordonedSince?: string;
  /** Pressure conditions that are True, such as DiskPressure. */
  pressures: string[];
  /** Since when each of them is. */
  pressuresSince?: Record<string, string>;
  /** The status of each condition, by its type. */
  conditions?: Record<string, string>;
}

/** The fields of a Node that the operator may write. `null` removes. */
export interface NodeChange {
  owner?: string | null;
  unschedulable?: boolean | null;
  managed?: 'true';
  /** The version that the change was decided on: where the Node has another one, it is a Conflict. */
  resourceVersion?: string;
}

const NODES = '/api/v1/nodes';
/** Set by the controller manager on a node that somebody cordoned. */
const CORDON_TAINT = 'node.kubernetes.io/unschedulable';

/** All Nodes, by name. */
export function watchNodes(
  client: KubeClient,
  log?: ReflectorLog,
  timings: Partial<ReflectorTimings> = {},
): Reflector<NodeView> {
  return startReflector<NodeView>(client, { path: NODES, project: watchedNode, timings, ...(log && { log }) });
}

/** The Node as the API server has it now. Rejects with `NotFound` when there is none. */
export async function readNode(client: KubeClient, name: string): Promise<NodeView> {
  return nodeView(await client.request<RawObject>({ verb: 'get', path: nodePath(name) }));
}

/** One merge patch. Rejects with `Conflict` when `resourceVersion` is given and is not the present one. */
export async function writeNode(client: KubeClient, name: string, change: NodeChange): Promise<NodeView> {
  const { owner, unschedulable, managed, resourceVersion } = change;
  const body = {
    metadata: {
      ...(resourceVersion !== undefined && { resourceVersion }),
      ...(owner !== undefined && { annotations: { [OWNER_ANNOTATION]: owner } }),
      ...(managed !== undefined && { labels: { [MANAGED_LABEL]: managed } }),
    },
    // Kubernetes has no `unschedulable: false`: the field is absent.
    ...(unschedulable !== undefined && { spec: { unschedulable: unschedulable || null } }),
  };
  const path = nodePath(name);
  return nodeView(
    await client.request<RawObject>({ verb: 'merge-patch', path, body, fieldManager: OPERATOR_FIELD_MANAGER }),
  );
}

const nodePath = (name: string) => `${NODES}/${encodeURIComponent(name)}`;

function watchedNode(object: RawObject, { listed, before }: Origin<NodeView>): NodeView {
  const view = nodeView(object);
  if (view.owner === undefined) return view;
  if (listed) return { ...view, ownerOrder: 0 };
  const known = before?.owner === view.owner ? before.ownerOrder : undefined;
  return { ...view, ownerOrder: known ?? Number(view.resourceVersion) };
}

interface NodeSpec {
  unschedulable?: boolean;
  taints?: { key: string; timeAdded?: string }[];
}
interface NodeStatus {
  conditions?: { type: string; status: string; lastTransitionTime?: string }[];
  nodeInfo?: { bootID?: string; kubeletVersion?: string; architecture?: string };
}

function nodeView({ metadata, spec, status }: RawObject): NodeView {
  const { conditions = [], nodeInfo = {} } = (status ?? {}) as NodeStatus;
  const { bootID = '', kubeletVersion = '', architecture = '' } = nodeInfo;
  const { name, uid, resourceVersion, creationTimestamp = '', labels = {}, annotations = {} } = metadata;
  const isTrue = (type: string) =>
    conditions.some((condition) => condition.type === type && condition.status === 'True');
  const ready = isTrue('Ready');
  const changedAt = (type: string) => conditions.find((condition) => condition.type === type)?.lastTransitionTime;
  const pressures = conditions.map(({ type }) => type).filter((type) => type.endsWith('Pressure') && isTrue(type));
  const { unschedulable = false, taints = [] } = (spec ?? {}) as NodeSpec;
  const cordon = taints.find(({ key }) => key === CORDON_TAINT);
  return {
    name,
    uid,
    resourceVersion,
    creationTimestamp,
    labels,
    unschedulable,
    ready,
    bootID,
    kubeletVersion,
    architecture,
    controlPlane: CONTROL_PLANE_LABELS.some((label) => label in labels),
    ...defined({
      readySince: ready ? changedAt('Ready') : undefined,
      notReadySince: ready ? undefined : changedAt('Ready'),
      cordonedSince: unschedulable ? cordon?.timeAdded : undefined,
      pressuresSince: pressures.length === 0 ? undefined : timesOf(pressures, changedAt),
      etcdVoter: conditions.some(({ type }) => type === 'EtcdIsVoter') ? isTrue('EtcdIsVoter') : undefined,
      owner: annotations[OWNER_ANNOTATION],
    }),
    pressures,
    conditions: Object.fromEntries(conditions.map(({ type, status }) => [type, status])),
  };
}

const timesOf = (types: readonly string[], changedAt: (type: string) => string | undefined): Record<string, string> =>
  Object.fromEntries(
    types.flatMap((type) => {
      const time = changedAt(type);
      return time === undefined ? [] : [[type, time]];
    }),
  );
