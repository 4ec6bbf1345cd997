import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { NodePods } from '../../activities/node-pods.ts';
import { type DrainAnswer, drainNode } from '../../activities/drain.ts';
import type { NodeInHand } from '../../api/messages.ts';
import type { DrainSpec } from '../../api/rollout-spec.ts';
import type { KairosNodeStatus } from '../../api/types.ts';
import type { KubeClient, KubeRequest, WatchEvent } from '../../kube/client.ts';
import { errorFromAnswer } from '../../kube/errors.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { RawObject } from '../../kube/raw-object.ts';
import { Store } from '../../kube/store.ts';
import { MINUTE, SECOND, HAND, type Running } from './step-world.ts';

const DRAIN: DrainSpec = { force: false, volumeDetachMs: 0, onTimeout: 'Fail', overridableBudgets: [] };

export const handWith = (drain: Partial<DrainSpec>, timeoutMs = 15 * MINUTE): NodeInHand => ({
  ...HAND,
  spec: { ...HAND.spec, drainTimeoutMs: timeoutMs, drain: { ...DRAIN, ...drain } },
});

interface PodTraits {
  /** The budget that holds it, or `several`. */
  budget?: string;
  ownerKind?: string;
  graceSeconds?: number;
  /** Never goes, whatever its grace period is. */
  stuck?: boolean;
  claims?: string[];
}

/** A cluster of two nodes on a virtual clock, of which one is drained: its pods, their budgets and volumes. */
export class DrainWorld {
  /** `evict name`, `delete name grace`, in the order in which they came. */
  readonly requests: string[] = [];
  /** What was written into the KairosNode, with its time. */
  readonly writes: { atMs: number; status: Record<string, unknown> }[] = [];
  status: KairosNodeStatus = {};
  /** Volume by claim, and the VolumeAttachments that are there, by name. */
  readonly volumeOf: Record<string, string> = {};
  readonly attachments = new Map<string, string>();
  readonly memory: unknown[] = [];
  mostAtOnce = 0;
  live: NodeView = nodeNow('10', {});
  #outstanding = 0;
  #version = 100;
  readonly #pods = new Map<string, RawObject & { traits: PodTraits }>();
  readonly #watchers = new Set<{ path: string; field: string; tell: (event: WatchEvent) => void }>();
  readonly #nodes = new Store<NodeView>(undefined);
  readonly #sink = this.#nodes.section(
    ({ metadata }) => metadata.name,
    ({ spec }) => spec as NodeView,
  );

  constructor() {
    this.#nodes.markSynced();
    this.seen(this.live);
    this.seen({ ...nodeNow('10', {}), name: 'n-2', uid: 'uid-2', unschedulable: false });
  }

  /** What the watch shows of a node. */
  seen(node: NodeView): void {
    const { name, uid, resourceVersion } = node;
    this.#sink.set({ metadata: { name, uid, resourceVersion }, spec: node });
  }

  pod(name: string, traits: PodTraits = {}): void {
    const { ownerKind = 'ReplicaSet', claims = [] } = traits;
    const owner = { apiVersion: 'v1', kind: ownerKind, name: 'owner', uid: 'o', controller: true };
    const metadata = { name, namespace: 'db', uid: `${name}-uid`, resourceVersion: '', ownerReferences: [owner] };
    const volumes = claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } }));
    const conditions = [{ type: 'Ready', status: 'True' }];
    this.#put({ metadata, spec: { nodeName: 'n-1', volumes }, status: { phase: 'Running', conditions }, traits });
  }

  /** The pod is gone from the API server. */
  gone(name: string): void {
    const pod = this.#pods.get(name);
    if (pod === undefined) return;
    this.#pods.delete(name);
    this.#tell('/api/v1/pods', '', { type: 'DELETED', object: this.#versioned(pod) });
  }

  get names(): string[] {
    return [...this.#pods.keys()];
  }

  detach(name: string): void {
    const volume = this.attachments.get(name);
    this.attachments.delete(name);
    const object = this.#versioned(attachmentOf(name, volume ?? ''));
    this.#tell('/apis/storage.k8s.io/v1/volumeattachments', `metadata.name=${name}`, { type: 'DELETED', object });
  }

  /** Runs the drain as the engine would: asked for `agoMs` ago, after an attempt that left `remembers`. */
  drain(
    hand: NodeInHand,
    { agoMs = 0, remembers }: { agoMs?: number; remembers?: unknown } = {},
  ): Running<DrainAnswer> & { cancel: () => void } {
    const scheduledTimestampMs = Date.now() - agoMs;
    const info = { scheduledTimestampMs, heartbeatTimeoutMs: 10 * SECOND, heartbeatDetails: remembers } as Info;
    const cancelling = new AbortController();
    const cancelled = new Promise<never>((_, reject) =>
      cancelling.signal.addEventListener('abort', () => reject(cancelling.signal.reason as Error)),
    );
    cancelled.catch(() => undefined);
    const none = undefined as never;
    const beat = (details: unknown) => void this.memory.push(details);
    const context = new Context(info, cancelled, cancelling.signal, beat, none, none, none, none);
    const running: Running<DrainAnswer> & { cancel: () => void } = {
      answer: undefined,
      error: undefined,
      cancel: () => cancelling.abort(new Error('cancelled')),
    };
    asyncLocalStorage
      .run(context, () => drainNode(this.#view(), hand))
      .then(
        (answer) => (running.answer = answer),
        (error: unknown) => (running.error = error),
      );
    return running;
  }

  #view(): ClusterView {
    const nodes = this.#nodes;
    const client = {
      request: (request: KubeRequest) => this.#answer(request),
      watch: (
        path: string,
        query: { fieldSelector?: string },
        tell: (event: WatchEvent) => void,
        signal: AbortSignal,
        onOpen?: () => void,
      ) => {
        const watcher = { path, field: query.fieldSelector ?? '', tell };
        this.#watchers.add(watcher);
        onOpen?.();
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            this.#watchers.delete(watcher);
            reject(signal.reason as Error);
          });
        });
      },
    } as unknown as KubeClient;
    return {
      ref: HAND.cluster,
      nodes: {
        get: (name: string) => nodes.get(name),
        values: () => nodes.values(),
        waitFor: nodes.waitFor.bind(nodes),
      },
      kairosNodes: { get: () => ({ status: this.status }) },
      client,
      nodePods: new NodePods(client, 0),
    } as unknown as ClusterView;
  }

  async #answer({ verb, path, body, query }: KubeRequest): Promise<unknown> {
    await Promise.resolve();
    if (verb === 'merge-patch') return this.#written((body as { status: Record<string, unknown> }).status);
    if (path === '/api/v1/nodes/n-1') return rawNode(this.live);
    if (verb === 'list') return this.#list(path, String(query?.['fieldSelector'] ?? ''));
    const name =
      path
        .replace(/\/eviction$/, '')
        .split('/')
        .at(-1) ?? '';
    if (path.includes('/persistentvolumeclaims/'))
      return { metadata: { name }, spec: { volumeName: this.volumeOf[name] } };
    if (path.includes('/poddisruptionbudgets/'))
      return { metadata: { name }, spec: {}, status: { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1 } };
    const grace = (body as { gracePeriodSeconds?: number } | undefined)?.gracePeriodSeconds;
    if (verb === 'delete') this.requests.push(`delete ${name}${grace === undefined ? '' : ` ${grace}`}`);
    else return this.#evict(name);
    this.#remove(name, grace);
    return {};
  }

  async #evict(name: string): Promise<unknown> {
    this.requests.push(`evict ${name}`);
    this.#outstanding += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#outstanding);
    await new Promise((resolve) => setTimeout(resolve, 100));
    this.#outstanding -= 1;
    const { budget } = this.#pods.get(name)?.traits ?? {};
    const call = { verb: 'create', path: `/pods/${name}/eviction` };
    const status = (code: number, reason: string, message: string, details = {}) =>
      errorFromAnswer(call, { code, body: { kind: 'Status', code, reason, message, details } });
    if (budget === 'several') throw status(500, 'InternalError', 'This pod has more than one PodDisruptionBudget');
    if (budget !== undefined) {
      const causes = [{ reason: 'DisruptionBudget', message: `The disruption budget ${budget} needs 1 healthy pods` }];
      throw status(429, 'TooManyRequests', 'Cannot evict pod', { causes, retryAfterSeconds: 10 });
    }
    this.#remove(name, undefined);
    return {};
  }

  /** The kubelet's part: the pod goes when its grace period is over. */
  #remove(name: string, grace: number | undefined): void {
    const pod = this.#pods.get(name);
    if (pod === undefined) return;
    const seconds = grace ?? pod.traits.graceSeconds ?? 1;
    if (seconds === 0) {
      this.gone(name);
      return;
    }
    const deletionTimestamp = new Date(Date.now() + seconds * SECOND).toISOString();
    this.#put({ ...pod, metadata: { ...pod.metadata, deletionTimestamp } });
    if (pod.traits.stuck !== true) setTimeout(() => this.gone(name), seconds * SECOND);
  }

  #list(path: string, field: string): object {
    const items =
      path === '/api/v1/pods'
        ? [...this.#pods.values()]
        : [...this.attachments]
            .filter(([name]) => field === '' || field === `metadata.name=${name}`)
            .map(([name, volume]) => attachmentOf(name, volume));
    return { metadata: { resourceVersion: String(this.#version) }, items };
  }

  #written(status: Record<string, unknown>): RawObject {
    this.writes.push({ atMs: Date.now(), status });
    this.status = withoutNulls({ ...this.status, ...status }) as KairosNodeStatus;
    return { metadata: { name: 'n-1', uid: 'k', resourceVersion: '1' } };
  }

  #put(pod: RawObject & { traits: PodTraits }): void {
    const stored = { ...pod, ...this.#versioned(pod) };
    this.#pods.set(pod.metadata.name, stored);
    this.#tell('/api/v1/pods', '', { type: 'MODIFIED', object: stored });
  }

  #versioned(object: RawObject): RawObject {
    this.#version += 1;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
  }

  #tell(path: string, field: string, event: WatchEvent): void {
    for (const watcher of this.#watchers)
      if (watcher.path === path && (field === '' || watcher.field === field)) watcher.tell(event);
  }
}

const attachmentOf = (name: string, volume: string): RawObject => ({
  metadata: { name, uid: `${name}-uid`, resourceVersion: '1' },
  spec: { nodeName: 'n-1', source: { persistentVolumeName: volume } },
});

/** Our node, cordoned and marked, at this version. */
export function nodeNow(resourceVersion: string, changes: Partial<NodeView>): NodeView {
  return {
    name: HAND.node.name,
    uid: HAND.node.uid,
    resourceVersion,
    creationTimestamp: '',
    labels: {},
    unschedulable: true,
    ready: true,
    bootID: HAND.bootID,
    kubeletVersion: '',
    architecture: 'amd64',
    controlPlane: false,
    owner: HAND.workflowID,
    pressures: [],
    ...changes,
  };
}

function rawNode({ name, uid, resourceVersion, owner, unschedulable, bootID }: NodeView): RawObject {
  const annotations = owner === undefined ? {} : { 'kairos.io/upgrade-owner': owner };
  return {
    metadata: { name, uid, resourceVersion, annotations },
    spec: { unschedulable },
    status: { nodeInfo: { bootID }, conditions: [{ type: 'Ready', status: 'True' }] },
  };
}

/** What the API server makes of a merge patch: null removes. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([, part]) => part !== null);
  return Object.fromEntries(kept.map(([key, part]) => [key, withoutNulls(part)]));
}
