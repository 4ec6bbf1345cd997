import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { jest } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { NodePods } from '../../activities/node-pods.ts';
import type { NodeInHand } from '../../api/messages.ts';
import { OWNER_ANNOTATION } from '../../api/names.ts';
import type { KairosNodeStatus } from '../../api/types.ts';
import type { KubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { type PodView, podView } from '../../kube/pod-view.ts';
import type { RawObject } from '../../kube/raw-object.ts';
import type { Reflector } from '../../kube/reflector.ts';
import { Store } from '../../kube/store.ts';

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
const NODE = '/api/v1/nodes/n-1';
const KAIROS_NODE = '/apis/kairos.io/v1alpha1/kairosnodes/n-1';

export const HAND = {
  cluster: { uid: 'c', id: 'kairos-c' },
  rolloutID: 'rollout/kairos-c/ns/v4',
  request: { kind: 'NodeOpUpgrade', namespace: 'ns', name: 'v4', uid: 'u', generation: 1, attempt: 1 },
  spec: {
    image: 'i',
    imagePullSecrets: [],
    maxUnavailable: 1,
    stopOnFailure: true,
    upgradeActive: true,
    upgradeRecovery: false,
    force: false,
    debug: false,
    excludePaths: [],
    soakMs: 30 * SECOND,
    prePullTimeoutMs: 30 * MINUTE,
    prePullAhead: 2,
    drainTimeoutMs: 15 * MINUTE,
    deleteEmptyDirData: true,
    rebootTimeoutMs: 30 * MINUTE,
    gateTimeoutMs: 60 * MINUTE,
  },
  workflowID: 'node/kairos-c/uid-1',
  node: { name: 'n-1', uid: 'uid-1' },
  place: { group: 'worker', budget: 1 },
  target: { image: 'i', pinned: 'i@sha256:1', architecture: 'amd64', version: 'v4.0.3', fields: {} },
  bootID: 'boot-1',
  startedAt: '2026-03-01T10:00:00Z',
} satisfies NodeInHand;

/** A cluster of one node on a virtual clock: what the API server has, what the watches say of it, and the requests. */
export class StepWorld {
  readonly requests: string[] = [];
  heartbeats = 0;
  /** Whether the watches deliver; a watch that hangs does not. */
  watching = true;
  /** Refuses the creation of anything whose path or name includes it. */
  forbidden: string | undefined;
  /** How often the watches of an idle cluster bring a word of the API server, which then sends bookmarks only. */
  wordEveryMs = 1;
  #contactSinceMs: number | undefined = Date.now() - 60 * MINUTE;
  #version = 1;
  readonly #objects = new Map<string, RawObject>();
  readonly #watchers = new Set<OnEvent>();
  readonly #nodes = shown('nodes');
  readonly #kairosNodes = shown('kairosNodes');
  readonly #pods = shown('pods');
  readonly view: ClusterView;

  constructor() {
    const client = {
      request: (request: Request) => this.#answer(request),
      watch: (_path: string, _query: object, onEvent: OnEvent, signal: AbortSignal, onOpen: () => void) =>
        this.#watchPods(onEvent, signal, onOpen),
    } as unknown as KubeClient;
    const contact = () => {
      if (this.#contactSinceMs === undefined) return 0;
      const sinceMs = Date.now() - this.#contactSinceMs;
      return sinceMs - (sinceMs % this.wordEveryMs);
    };
    this.view = {
      client,
      nodePods: new NodePods(client, 0),
      ref: HAND.cluster,
      namespaces: ['ns'],
      nodes: { ...this.#nodes.reflector, contactMs: contact },
      kairosNodes: { ...this.#kairosNodes.reflector, contactMs: contact },
      pods: this.#pods.reflector,
      upgrades: { values: () => [] },
    } as unknown as ClusterView;
    this.node({});
    this.report({ bootID: 'boot-1' });
  }

  /** What kubelet, and the controller manager, write into the Node. */
  node({
    bootID = 'boot-1',
    ready = true,
    uid = 'uid-1',
    owner = HAND.workflowID as string | null,
    unschedulable = true,
  }): void {
    const annotations = owner === null ? {} : { [OWNER_ANNOTATION]: owner };
    const status = { nodeInfo: { bootID }, conditions: [{ type: 'Ready', status: ready ? 'True' : 'Unknown' }] };
    this.#put(NODE, {
      metadata: { name: 'n-1', uid, resourceVersion: '', annotations },
      spec: { unschedulable },
      status,
    });
  }

  report(status: KairosNodeStatus): void {
    this.#put(KAIROS_NODE, { metadata: { name: 'n-1', uid: 'k', resourceVersion: '' }, spec: {}, status });
  }

  /** The status of the KairosNode as it is. */
  get kairosNode(): KairosNodeStatus & { inHand: NonNullable<KairosNodeStatus['inHand']> } {
    const status = (this.#objects.get(KAIROS_NODE)?.status ?? {}) as KairosNodeStatus;
    const none = { rollout: '', image: '', version: '', bootID: '', startedAt: '' };
    const request = { kind: 'NodeOpUpgrade', namespace: '', name: '', uid: '', generation: 0, attempt: 0 } as const;
    return { ...status, inHand: status.inHand ?? { ...none, request } };
  }

  removeNode(): void {
    this.#remove(NODE);
  }

  /** The names of the pods that exist, without their hashes. */
  get pods(): string[] {
    return this.names.map((name) => name.replace(/-n-1-[0-9a-f]{16}$/, ''));
  }
  get names(): string[] {
    return [...this.#objects].filter(([path]) => path.includes('/pods/')).map(([, { metadata }]) => metadata.name);
  }

  /** Writes the status of the pod whose name begins like this. */
  pod(prefix: string, status: object): void {
    const found = [...this.#objects].find(([path]) => path.includes(`/pods/${prefix}`));
    if (found === undefined) throw new Error(`no pod ${prefix}; there are ${this.names.join(', ')}`);
    this.#put(found[0], { ...found[1], status });
  }

  /** A pod of the upgrade Job, as its controller makes it. */
  writer(name: string): void {
    const job = [...this.#objects].find(([path]) => path.includes('/jobs/'))?.[1];
    if (job === undefined) throw new Error('no Job is there yet');
    const { uid } = job.metadata;
    const ownerReferences = [{ apiVersion: 'batch/v1', kind: 'Job', name: job.metadata.name, uid, controller: true }];
    const metadata = { name, namespace: 'ns', uid: name, resourceVersion: '', ownerReferences };
    const spec = { nodeName: 'n-1', containers: [{ name: 'upgrade', image: 'i' }] };
    this.#put(`/api/v1/namespaces/ns/pods/${name}`, { metadata, spec, status: { phase: 'Running' } });
  }

  /** A pod of somebody else on the node, of a DaemonSet unless it is said otherwise. */
  otherPod(
    name: string,
    { ready = true, restarts = 0, owner = 'DaemonSet', state = {}, labels = {} }: OtherPod = {},
  ): void {
    const ownerReferences = [
      { apiVersion: 'apps/v1', kind: owner, name: name.replace(/-.*/, ''), uid: 'o', controller: true },
    ];
    const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
    const status = {
      phase: 'Running',
      conditions,
      containerStatuses: [{ name: 'c', restartCount: restarts, ...state }],
    };
    const metadata = { name, namespace: 'apps', uid: name, resourceVersion: '', labels, ownerReferences };
    const spec = { nodeName: 'n-1', containers: [{ name: 'c', image: 'x' }] };
    this.#put(`/api/v1/namespaces/apps/pods/${name}`, { metadata, spec, status });
  }

  /** How many watches of the node's pods are open. */
  get podWatches(): number {
    return this.#watchers.size;
  }

  removePod(prefix: string): void {
    for (const name of this.names) if (name.startsWith(prefix)) this.#remove(`/api/v1/namespaces/ns/pods/${name}`);
  }

  endJob(): void {
    const found = [...this.#objects].find(([path]) => path.includes('/jobs/'));
    if (found === undefined) throw new Error('no Job is there yet');
    const conditions = [{ type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded' }];
    this.#put(found[0], { ...found[1], status: { conditions } });
  }

  get jobUIDs(): string[] {
    return [...this.#objects].filter(([path]) => path.includes('/jobs/')).map(([, { metadata }]) => metadata.uid);
  }

  /** From now on the API server does not answer, and nothing is delivered. */
  loseContact(): void {
    this.#contactSinceMs = undefined;
  }
  regainContact(): void {
    this.#contactSinceMs = Date.now();
  }

  /** Runs a step as the engine would, asked for `agoMs` ago. */
  run<Answer>(
    step: (view: ClusterView, hand: NodeInHand) => Promise<Answer>,
    { agoMs = 0, hand = HAND }: { agoMs?: number; hand?: NodeInHand } = {},
  ): Running<Answer> {
    const info = { attempt: 1, scheduledTimestampMs: Date.now() - agoMs, heartbeatTimeoutMs: 10 * SECOND } as Info;
    const beat = () => void (this.heartbeats += 1);
    const never = new Promise<never>(() => undefined);
    const none = undefined as never;
    const context = new Context(info, never, new AbortController().signal, beat, none, none, none, none);
    const running: Running<Answer> = { answer: undefined, error: undefined };
    asyncLocalStorage
      .run(context, () => step(this.view, hand))
      .then(
        (answer) => (running.answer = answer),
        (error: unknown) => (running.error = error),
      );
    return running;
  }

  async #answer({ verb, path, body }: Request): Promise<RawObject> {
    await Promise.resolve();
    if (this.#contactSinceMs === undefined) throw failure('Unreachable', true);
    if (verb === 'list') {
      const items = [...this.#objects].filter(([key]) => key.includes('/pods/')).map(([, object]) => object);
      return { metadata: { resourceVersion: String(this.#version) }, items } as unknown as RawObject;
    }
    const name = body?.metadata?.name ?? '';
    if (verb !== 'get' && verb !== 'merge-patch') this.requests.push(`${verb} ${name || path.split('/').at(-1) || ''}`);
    const key = verb === 'create' ? `${path}/${name}` : path.replace(/\/status$/, '');
    const found = this.#objects.get(key);
    if (verb === 'create') {
      if (this.forbidden !== undefined && key.includes(this.forbidden)) throw failure('Forbidden', false);
      if (found !== undefined) throw failure('AlreadyExists', false);
      const metadata = { ...body?.metadata, name, namespace: 'ns', uid: `${name}-${this.#version}` };
      return this.#put(key, { ...body, metadata: { ...metadata, resourceVersion: '' } });
    }
    if (found === undefined) throw failure('NotFound', false);
    if (verb === 'delete') this.#remove(key);
    if (verb === 'merge-patch' && key === KAIROS_NODE)
      return this.#put(key, { ...found, status: merged(found.status, (body as RawObject).status) });
    return found;
  }

  #put(path: string, object: RawObject): RawObject {
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    const stored = { ...object, metadata };
    this.#objects.set(path, stored);
    if (this.watching) this.#shownAt(path)?.sink.set(stored);
    this.#tell(path, 'MODIFIED', stored);
    return stored;
  }

  #remove(path: string): void {
    const object = this.#objects.get(path);
    this.#objects.delete(path);
    if (object !== undefined && this.watching) this.#shownAt(path)?.sink.remove(object);
    this.#version += 1;
    const resourceVersion = String(this.#version);
    if (object !== undefined)
      this.#tell(path, 'DELETED', { ...object, metadata: { ...object.metadata, resourceVersion } });
  }

  #tell(path: string, type: string, object: RawObject): void {
    if (!path.includes('/pods/') || !this.watching || this.#contactSinceMs === undefined) return;
    for (const onEvent of this.#watchers) onEvent({ type, object });
  }

  #watchPods(onEvent: OnEvent, signal: AbortSignal, onOpen: () => void): Promise<void> {
    if (this.#contactSinceMs === undefined) return Promise.reject(failure('Unreachable', true));
    onOpen();
    this.#watchers.add(onEvent);
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        this.#watchers.delete(onEvent);
        reject(signal.reason as Error);
      });
    });
  }

  #shownAt(path: string) {
    if (path.includes('/pods/')) return this.#pods;
    if (path === NODE) return this.#nodes;
    return path === KAIROS_NODE ? this.#kairosNodes : undefined;
  }
}

/** As RFC 7396 says. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const now: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete now[key];
    else now[key] = merged(now[key], value);
  }
  return now;
}

type OnEvent = (event: { type: string; object: RawObject }) => void;

interface OtherPod {
  ready?: boolean;
  restarts?: number;
  owner?: string;
  state?: object;
  labels?: Record<string, string>;
}

interface Request {
  verb: string;
  path: string;
  body?: RawObject;
}

/** Set once the step has ended. */
export interface Running<Answer> {
  answer: Answer | undefined;
  error: unknown;
}

/** Lets the virtual clock run. */
export const elapse = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);

const failure = (reason: string, retryable: boolean) =>
  new KubeError(`the API server says ${reason}`, { verb: 'x', path: '/', reason, retryable });

const VIEWS: Record<string, (object: RawObject) => unknown> = {
  pods: (object): PodView => podView(object),
  kairosNodes: ({ metadata, spec, status }) => ({ name: metadata.name, spec: spec ?? {}, status: status ?? {} }),
  nodes: ({ metadata, status }) => {
    const { nodeInfo, conditions } = status as { nodeInfo: { bootID: string }; conditions: { status: string }[] };
    return { name: metadata.name, uid: metadata.uid, bootID: nodeInfo.bootID, ready: conditions[0]?.status === 'True' };
  },
};

/** A reflector without a server: what is put into its sink is what it shows. */
function shown(kind: string) {
  const store = new Store<unknown>(undefined);
  store.markSynced();
  const key = ({ metadata: { name, namespace } }: RawObject) =>
    namespace === undefined ? name : `${namespace}/${name}`;
  const sink = store.section(key, (object) => VIEWS[kind]?.(object));
  const reflector: Pick<Reflector<unknown>, 'get' | 'values' | 'synced' | 'waitFor' | 'onChange'> = {
    get: (name) => store.get(name),
    values: () => store.values(),
    synced: (signal) => store.synced(signal),
    waitFor: (name, decide, signal) => store.waitFor(name, decide, signal),
    onChange: (listener) => store.onChange(listener),
  };
  return { sink, reflector };
}
