import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import type { ClusterRef } from '../../api/messages.ts';
import { STEP_LABEL } from '../../api/names.ts';
import type { NodeOpUpgrade, NodeOpUpgradeSpec, NodeOpUpgradeStatus, Strategy } from '../../api/types.ts';
import { connectToCluster, type KubeClient } from '../../kube/client.ts';
import { readClusterIdentity } from '../../kube/identity.ts';
import { watchKairosNodes, type KairosNodeView } from '../../kube/kairos-nodes.ts';
import { rolloutId } from '../../kube/names.ts';
import { watchNodeOpUpgrades } from '../../kube/node-op-upgrades.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { Reflector } from '../../kube/reflector.ts';
import { isFinal } from '../../policy/engine.ts';
import { startCluster, type NodeRecording, type SimulatedCluster } from '../../sim/cluster.ts';
import type { ControlPlane } from '../../sim/control-plane.ts';
import { kairosImage, type SimulatedImage } from '../../sim/images.ts';
import { startObserver, type Observer } from '../../sim/observer.ts';
import { patientClient } from '../../sim/patient-client.ts';
import { startProduct, type Product } from '../../sim/product.ts';
import { startTemporal, type TemporalServer } from '../../sim/temporal-server.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { children, processesLeft } from './processes-left.ts';

const NAMESPACE = 'kairos-system';
const CLUSTER_NAME = 'e2e';
const TIMINGS = { pullMs: 200, upgradeMs: 2000, bootMs: 1500, podStartMs: 100, podStopMs: 100 };
const UPGRADES = `/apis/operator.kairos.io/v1alpha1/namespaces/${NAMESPACE}/nodeopupgrades`;

/** What the machines run at first, and two images that they may be upgraded to. */
export const OLD = 'quay.io/kairos/hadron:v4.0.2';
export const NEW = 'quay.io/kairos/hadron:v4.0.3';
export const NEWER = 'quay.io/kairos/hadron:v4.0.4';
export const versionIn = (image: string) => `${image.split(':')[1]}-k3sv1.33.9+k3s1`;

/** A whole product on a whole cluster, and what a test asks of both. */
export interface Stage {
  readonly cluster: SimulatedCluster;
  readonly product: Product;
  readonly client: KubeClient;
  readonly ref: ClusterRef;
  readonly temporal: Client;
  readonly temporalServer: TemporalServer;
  /** Holds everything: logs, and the database of Temporal. */
  readonly folder: string;
  readonly observer: Observer;
  readonly kairosNodes: Reflector<KairosNodeView>;
  /** Which nodes were out together (cordoned or not Ready), at each change; a mark alone takes no node out. */
  readonly outages: readonly NodeView[][];
  /** Nodes that were cordoned or marked, in the order in which that was seen; `forgetTouched` empties it. */
  readonly touched: readonly string[];
  forgetTouched(): void;
  node(name: string): NodeView;
  kairosNode(name: string): KairosNodeView;
  recording(name: string): NodeRecording;
  /** Creates a NodeOpUpgrade for these nodes, all of them without a list, with a short soak. */
  upgrade(name: string, image: string, nodes?: string[], spec?: Partial<NodeOpUpgradeSpec>): Promise<void>;
  /** Changes the image of a NodeOpUpgrade; the answer is its new generation. */
  editImage(name: string, image: string): Promise<number>;
  deleteUpgrade(name: string): Promise<void>;
  /** Runs kubectl as the administrator. Throws with what it said when it fails. */
  kubectl(...args: string[]): Promise<string>;
  /** The status of a NodeOpUpgrade as it is now; undefined before it has one. */
  status(name: string): NodeOpUpgradeStatus | undefined;
  /** Its status once this generation (the first one by default) has ended, by its rollout and by the watcher. */
  ended(name: string, generation?: number): Promise<NodeOpUpgradeStatus>;
  rolloutID(name: string): string;
  /** Runs the `temporal` CLI against this Temporal. Throws with what it said when it fails. */
  temporalCLI(...args: string[]): Promise<string>;
  /** Asks until the answer holds; throws with the last answer and the end of the product's logs. */
  until<T>(what: string, ask: () => T | Promise<T>, holds: (answer: T) => boolean, withinMs?: number): Promise<T>;
  /** Resolves when no pod and no Job is left that works on a node; the last rollout's may still be going. */
  cleanedUp(): Promise<void>;
  /** A pod on this node that no eviction moves; the answer lets it go. */
  holdDrain(node: string): Promise<() => Promise<void>>;
  /** Stops everything. Throws when a process is left. */
  stop(): Promise<void>;
}

export interface StageSize {
  readonly controlPlaneNodes: number;
  readonly workerNodes: number;
  /** Zones that the nodes are in, in turn. Default 1: then they go by their names. */
  readonly zones?: number;
  /** See ClusterOptions: for tests that take the API server away. */
  readonly outliveApiServer?: boolean;
  /** Images beside those that every stage has; of one that is only a tag, the tag is the version. */
  readonly images?: readonly (string | SimulatedImage)[];
  /** See ProductOptions: the Leases on nodes are shared with other tools. */
  readonly nodeLeases?: boolean;
  /** See ProductOptions: defaults of spec.strategy. */
  readonly strategyDefaults?: Strategy;
  /** Something that stands between the worker and the API server. */
  readonly workerThrough?: (folder: string, controlPlane: ControlPlane) => Promise<Between>;
}

interface Between {
  kubeconfigFor: ControlPlane['kubeconfigFor'];
  stop(): Promise<void>;
}

/** Starts a cluster, Temporal and the operator; resolves when every agent has reported. Leaves nothing when it throws. */
export async function startStage(size: StageSize): Promise<Stage> {
  const folder = mkdtempSync(path.join(tmpdir(), 'kairos-e2e-'));
  const before = children();
  const undo: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const keep = <T>(part: T, stop: () => unknown): T => {
    undo.push(stop);
    return part;
  };
  const stop = async () => {
    const errors: unknown[] = [];
    const last = undo.shift();
    for (const step of undo.reverse()) await Promise.resolve(step()).catch((error: unknown) => errors.push(error));
    const left = await processesLeft(folder, before);
    last?.();
    if (left.length > 0) throw new Error(`left running: ${left.join('; ')}`);
    if (errors.length > 0) throw errors[0];
  };
  try {
    const { workerThrough, images: more = [], nodeLeases = false, strategyDefaults, ...machines } = size;
    const images = [OLD, NEW, NEWER, ...more].map((image) =>
      typeof image === 'string' ? kairosImage(image, image.split(':')[1] ?? '') : image,
    );
    const onError = (error: unknown) => process.stderr.write(`simulator: ${String(error)}\n`);
    const starting = {
      folder,
      zones: 1,
      ...machines,
      image: OLD,
      images,
      timings: TIMINGS,
      agents: 'one-process',
      onError,
    } as const;
    const [cluster, server] = await both(
      startCluster(starting).then((cluster) => keep(cluster, () => cluster.stop())),
      startTemporal({ folder }).then((server) => keep(server, () => server.stop())),
    );
    const client = connectToCluster({ kubeconfig: cluster.controlPlane.adminKubeconfig });
    keep(client, () => client.close());
    const between = await workerThrough?.(folder, cluster.controlPlane);
    if (between !== undefined) keep(between, () => between.stop());
    const controlPlane = behind(cluster.controlPlane, between);
    const told = { clusterName: CLUSTER_NAME, nodeLeases, ...(strategyDefaults && { strategyDefaults }) };
    const options = { folder, client, controlPlane, temporal: server, ...told };
    const product = await startProduct(options);
    keep(product, () => product.stop());
    const connection = await Connection.connect({ address: server.address });
    keep(connection, () => connection.close());
    const eyes = patientClient(client);
    const observer = startObserver(eyes, STEP_LABEL);
    const kairosNodes = watchKairosNodes(eyes);
    const upgrades = watchNodeOpUpgrades(eyes);
    for (const watch of [observer, kairosNodes, upgrades]) keep(watch, () => watch.stop());
    await Promise.all([observer.synced(), kairosNodes.synced(), upgrades.synced()]);
    const ref = await readClusterIdentity(client, CLUSTER_NAME);
    const temporal = new Client({ connection });
    const seen = { ref, temporal, temporalServer: server, observer, kairosNodes, upgrades };
    const parts = { folder, cluster, product, client, ...seen };
    const stage = stageOf(parts, server.address, stop);
    const all = size.controlPlaneNodes + size.workerNodes;
    const reported = () => [...kairosNodes.values()].filter(({ status }) => status.bootID !== undefined).length;
    await stage.until('every agent has reported', reported, (count) => count === all);
    return stage;
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

interface Parts extends Pick<
  Stage,
  'cluster' | 'product' | 'client' | 'ref' | 'temporal' | 'temporalServer' | 'observer' | 'kairosNodes'
> {
  folder: string;
  upgrades: Reflector<NodeOpUpgrade>;
}

function stageOf(parts: Parts, temporalAddress: string, stop: () => Promise<void>): Stage {
  const { cluster, client, observer, kairosNodes, upgrades, ref } = parts;
  let touched: string[] = [];
  const outages: NodeView[][] = [];
  observer.nodes.onChange((name, now, before) => {
    const out = (node: NodeView | undefined) => node !== undefined && (node.unschedulable || node.owner !== undefined);
    if (out(now) && !out(before)) touched.push(name);
    outages.push([...observer.nodes.values()].filter((node) => node.unschedulable || !node.ready));
  });
  const until: Stage['until'] = async (what, ask, holds, withinMs = 40_000) => {
    const giveUpAtMs = Date.now() + withinMs;
    for (;;) {
      const answer = await ask();
      if (holds(answer)) return answer;
      if (Date.now() > giveUpAtMs)
        throw new Error(lateText(parts.folder, `${what}: not within ${withinMs} ms`, answer));
      await sleep(50);
    }
  };
  const create = (collection: string, body: object) => client.request({ verb: 'create', path: collection, body });
  const stepObjects = async () => {
    const query = { labelSelector: STEP_LABEL };
    const list = (collection: string) =>
      client.request<{ items: { metadata: { name: string } }[] }>({ verb: 'list', path: collection, query });
    const lists = await Promise.all(['/api/v1/pods', '/apis/batch/v1/jobs'].map(list));
    return lists.flatMap(({ items }) => items.map(({ metadata }) => metadata.name));
  };
  const remove = (object: string) => client.request<unknown>({ verb: 'delete', path: object });
  return {
    ...parts,
    stop,
    until,
    outages,
    get touched() {
      return touched;
    },
    forgetTouched() {
      touched = [];
    },
    node: (name) => present(observer.nodes.get(name), `Node ${name}`),
    kairosNode: (name) => present(kairosNodes.get(name), `KairosNode ${name}`),
    recording: (name) =>
      present(
        cluster.recordings().find(({ node }) => node === name),
        `recording of ${name}`,
      ),
    rolloutID: (name) => rolloutId(ref.id, NAMESPACE, name),
    async upgrade(name, image, nodes, spec = {}) {
      const names = { key: 'kubernetes.io/hostname', operator: 'In', values: nodes };
      await create(UPGRADES, {
        apiVersion: 'operator.kairos.io/v1alpha1',
        kind: 'NodeOpUpgrade',
        metadata: { name },
        spec: {
          image,
          ...(nodes === undefined ? {} : { nodeSelector: { matchExpressions: [names] } }),
          ...spec,
          // One wave of all workers, where a test does not ask for others: no canary that soaks for minutes.
          strategy: {
            soak: '1s',
            reboot: { timeout: '1m' },
            gateTimeout: '1m',
            waves: [{ name: 'workers' }],
            ...spec.strategy,
          },
        },
      });
    },
    async editImage(name, image) {
      const request = { verb: 'merge-patch', path: `${UPGRADES}/${name}`, body: { spec: { image } } } as const;
      const { metadata } = await client.request<{ metadata: { generation: number } }>(request);
      return metadata.generation;
    },
    deleteUpgrade: async (name) => void (await remove(`${UPGRADES}/${name}`)),
    async ended(name, generation = 1) {
      const status = () => upgrades.get(`${NAMESPACE}/${name}`)?.status;
      const isOver = (now: NodeOpUpgradeStatus | undefined) =>
        isFinal(now?.rollout?.phase) &&
        isFinal(now?.phase) &&
        now?.rollout?.generation === generation &&
        now.observedGeneration === generation;
      return present(await until(`NodeOpUpgrade ${name} ends`, status, isOver, 90_000), name);
    },
    status: (name) => upgrades.get(`${NAMESPACE}/${name}`)?.status,
    async kubectl(...args) {
      const program = await resolveTool('kubectl');
      const kubeconfig = cluster.controlPlane.adminKubeconfig;
      const done = spawnSync(program, ['--kubeconfig', kubeconfig, ...args], { encoding: 'utf8' });
      if (done.status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${done.stderr}`);
      return done.stdout.trim();
    },
    async temporalCLI(...args) {
      const program = await resolveTool('temporal');
      const done = spawnSync(program, [...args, '--address', temporalAddress], { encoding: 'utf8' });
      if (done.status !== 0) throw new Error(`temporal ${args.join(' ')}: ${done.stderr}`);
      return done.stdout;
    },
    async cleanedUp() {
      await until('pods and Jobs of steps are gone', stepObjects, (names) => names.length === 0, 30_000);
    },
    async holdDrain(node) {
      const name = `held-on-${node}`;
      const [apps, budgets] = ['/apis/apps/v1', '/apis/policy/v1'].map((api) => `${api}/namespaces/default`);
      const [deployments, disruptions] = [`${apps}/deployments`, `${budgets}/poddisruptionbudgets`];
      const [metadata, selector] = [{ name }, { matchLabels: { app: name } }];
      await create(disruptions, { metadata, spec: { maxUnavailable: 0, selector } });
      await create(deployments, { metadata, spec: { replicas: 1, selector, template: pinnedPod(name, node) } });
      const ready = () =>
        client.request<{ status?: { readyReplicas?: number } }>({ verb: 'get', path: `${deployments}/${name}` });
      await until(`pod ${name} runs`, ready, ({ status }) => status?.readyReplicas === 1);
      return async () => {
        await remove(`${disruptions}/${name}`);
        await remove(`${deployments}/${name}`);
      };
    },
  };
}

function pinnedPod(app: string, node: string): object {
  return {
    metadata: { labels: { app } },
    spec: {
      nodeSelector: { 'kubernetes.io/hostname': node },
      containers: [{ name: 'app', image: 'example.com/app:1' }],
    },
  };
}

function present<T>(found: T | undefined, what: string): T {
  if (found === undefined) throw new Error(`${what} is not there`);
  return found;
}

/** The control plane as the operator is shown it: only the worker goes another way. */
function behind(controlPlane: ControlPlane, between: Between | undefined): ControlPlane {
  if (between === undefined) return controlPlane;
  return {
    ...controlPlane,
    kubeconfigFor: (asked) => (asked.name === 'kairos-worker' ? between : controlPlane).kubeconfigFor(asked),
  };
}

/** Both, or neither: whatever did start is known to its caller before the error is. */
async function both<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([a, b]);
  return Promise.all([a, b]);
}

function lateText(folder: string, what: string, answer: unknown): string {
  const tail = (name: string) => {
    const file = path.join(folder, 'logs', `${name}.log`);
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-8).join('\n') : '';
  };
  return `${what}; last: ${JSON.stringify(answer)}\nworker:\n${tail('worker')}\nwatcher:\n${tail('watcher')}`;
}
