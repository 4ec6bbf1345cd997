import { OWNER_ANNOTATION } from '../../api/names.ts';
import type { KubeClient } from '../../kube/client.ts';
import { listAll } from '../../kube/list.ts';
import { type NodeView, watchNodes } from '../../kube/nodes.ts';
import { type RawObject, isOlder, objectKey } from '../../kube/raw-object.ts';
import { type Reflector, startReflector } from '../../kube/reflector.ts';
import { NODES, type Rig, TIMINGS } from './fault-rig.ts';

interface Version {
  uid: string;
  resourceVersion: string;
}

const POD_PATHS = ['default', 'kube-system'].map((namespace) => `/api/v1/namespaces/${namespace}/pods`);
const POD_QUERY = { labelSelector: 'kairos.io/upgrade-step' };
const COLLECTIONS = {
  nodes: { paths: ['/api/v1/nodes'], query: {} },
  pods: { paths: POD_PATHS, query: POD_QUERY },
  kairosNodes: { paths: ['/apis/kairos.io/v1alpha1/kairosnodes'], query: {} },
};

/** Several processes' watchers, as one. */
export function watchersOf(rig: Rig, processes: number): Watchers {
  return new Watchers(Array.from({ length: processes }, () => new ProcessWatchers(rig)));
}

export class Watchers {
  readonly #all: ProcessWatchers[];

  constructor(all: ProcessWatchers[]) {
    this.#all = all;
  }

  async synced(): Promise<void> {
    await Promise.all(this.#all.map((watchers) => watchers.synced()));
  }

  contactsMs(): number[] {
    return this.#all.flatMap((watchers) => watchers.contactsMs());
  }

  /** What differs from the API server's truth. */
  async differences(): Promise<string[]> {
    return (await Promise.all(this.#all.map((watchers) => watchers.differences()))).flat();
  }

  stop(): void {
    for (const watchers of this.#all) watchers.stop();
  }
}

/** Reflectors on the faulty network, each compared with what the API server really has. */
class ProcessWatchers {
  readonly #reflectors: Record<keyof typeof COLLECTIONS, Reflector<Version>>;
  readonly #rig: Rig;
  readonly #owners: Owners;

  constructor(rig: Rig) {
    this.#rig = rig;
    const nodes = watchNodes(rig.faulty, undefined, TIMINGS);
    const watch = (path: readonly string[], query = {}) =>
      startReflector<Version>(rig.faulty, { path, query, project: ({ metadata }) => metadata, timings: TIMINGS });
    this.#reflectors = {
      nodes,
      pods: watch(POD_PATHS, POD_QUERY),
      kairosNodes: watch(COLLECTIONS.kairosNodes.paths),
    };
    for (const [kind, reflector] of Object.entries(this.#reflectors)) onlyForward(kind, reflector, rig.problems);
    this.#owners = new Owners(rig.admin, rig.problems);
    nodes.onChange((_, node) => this.#owners.check(node));
  }

  async synced(): Promise<void> {
    await this.#owners.start();
    await Promise.all(Object.values(this.#reflectors).map((reflector) => reflector.synced()));
  }

  contactsMs(): number[] {
    return Object.values(this.#reflectors).map((reflector) => reflector.contactMs());
  }

  async differences(): Promise<string[]> {
    const found = await Promise.all(
      Object.entries(COLLECTIONS).map(async ([kind, { paths, query }]) => {
        const truth = new Map<string, string>();
        const note = (object: RawObject) => void truth.set(objectKey(object), asText(object.metadata));
        for (const path of paths) await listAll(this.#rig.admin, path, query, note);
        const reflector = this.#reflectors[kind as keyof typeof COLLECTIONS];
        const missing = [...truth].filter(([key, version]) => asText(reflector.get(key)) !== version);
        const differ = missing.map(
          ([key, version]) => `${kind} ${key}: ${asText(reflector.get(key))} is not ${version}`,
        );
        const surplus = reflector.size - (truth.size - missing.length);
        return surplus > missing.length ? [...differ, `${kind}: ${surplus} objects too many`] : differ;
      }),
    );
    return found.flat();
  }

  stop(): void {
    this.#owners.stop();
    for (const reflector of Object.values(this.#reflectors)) reflector.stop();
  }
}

const asText = (version: Version | undefined) =>
  version === undefined ? 'absent' : `${version.uid}@${version.resourceVersion}`;

/** No change may take an object back to an older version, nor bring back one that went. */
function onlyForward(kind: string, reflector: Reflector<Version>, problems: string[]): void {
  const last = new Map<string, string>();
  reflector.onChange((key, now, before) => {
    const version = now?.resourceVersion ?? before?.resourceVersion;
    const known = last.get(key);
    if (now !== undefined && known !== undefined && !isOlder(known, now.resourceVersion))
      problems.push(`${kind} ${key} went from version ${known} to ${now.resourceVersion}`);
    if (version !== undefined) last.set(key, version);
    const [oldest] = last.keys();
    if (last.size > 500 && oldest !== undefined) last.delete(oldest);
  });
}

/** Who really owned which node since when, by a watch on the sound network. */
class Owners {
  readonly #admin: KubeClient;
  readonly #problems: string[];
  readonly #stopping = new AbortController();
  /** By node: the changes of its owner, in order. */
  readonly #changes = new Map<string, { since: string; owner: string | undefined }[]>();
  #reached = '0';
  #waiting: NodeView[] = [];

  constructor(admin: KubeClient, problems: string[]) {
    this.#admin = admin;
    this.#problems = problems;
  }

  async start(): Promise<void> {
    const path = '/api/v1/nodes';
    this.#reached = await listAll(this.#admin, path, {}, (object) => this.#note(object));
    const query = { resourceVersion: this.#reached, timeoutSeconds: 7200 };
    const ended = this.#admin.watch(
      path,
      query,
      ({ object }) => this.#note(object as RawObject),
      this.#stopping.signal,
    );
    ended.catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) this.#problems.push(`the sound watch failed: ${String(error)}`);
    });
  }

  stop(): void {
    this.#stopping.abort(new Error('stopped'));
  }

  /** Compares now, or as soon as the sound watch has come as far. */
  check(node: NodeView | undefined): void {
    if (node === undefined || (node.ownerOrder ?? 0) === 0) return;
    this.#waiting.push(node);
    this.#checkWaiting();
  }

  #note({ metadata }: RawObject): void {
    const key = `${metadata.name} ${metadata.uid}`;
    const changes = this.#changes.get(key) ?? [];
    const owner = metadata.annotations?.[OWNER_ANNOTATION];
    if (changes.at(-1)?.owner !== owner) changes.push({ since: metadata.resourceVersion, owner });
    // The others are never marked.
    if (NODES.includes(metadata.name)) this.#changes.set(key, changes.slice(-200));
    if (isOlder(this.#reached, metadata.resourceVersion)) this.#reached = metadata.resourceVersion;
    this.#checkWaiting();
  }

  #checkWaiting(): void {
    const isReached = (node: NodeView) => !isOlder(this.#reached, node.resourceVersion);
    for (const node of this.#waiting.filter(isReached)) {
      const changes = this.#changes.get(`${node.name} ${node.uid}`) ?? [];
      const truth = changes.findLast(({ since }) => !isOlder(node.resourceVersion, since));
      if (truth?.owner !== node.owner || truth?.since !== String(node.ownerOrder))
        this.#problems.push(
          `node ${node.name}@${node.resourceVersion}: ${node.owner} since ${node.ownerOrder}, in truth ${truth?.owner} since ${truth?.since}`,
        );
    }
    this.#waiting = this.#waiting.filter((node) => !isReached(node));
  }
}
