import { execFile, spawn } from 'node:child_process';
import { chownSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { STEP_LABEL } from '../../api/names.ts';
import type { NodeOpUpgrade, NodeOpUpgradeStatus } from '../../api/types.ts';
import { watchKairosNodes, type KairosNodeView } from '../../kube/kairos-nodes.ts';
import { watchNodeOpUpgrades } from '../../kube/node-op-upgrades.ts';
import type { Reflector } from '../../kube/reflector.ts';
import { isFinal } from '../../policy/engine.ts';
import { startRig, type Rig } from '../../rig/cluster.ts';
import { buildSystemImages, KUBERNETES, type BuiltImage } from '../../rig/images.ts';
import type { Role } from '../../rig/machine-files.ts';
import { consoleTail } from '../../rig/machine.ts';
import { recordMachines } from '../../rig/recording.ts';
import type { NodeRecording } from '../../sim/node.ts';
import { startObserver, type Observer } from '../../sim/observer.ts';
import { patientClient } from '../../sim/patient-client.ts';
import { freePort } from '../../sim/ports.ts';
import { copyChart } from '../../tools/copy-chart.ts';
import { buildImages } from '../../tools/images/build.ts';
import { TEMPORAL_NEXT } from '../../tools/images/stand-ins.ts';
import { progressOn } from '../../tools/progress.ts';
import { resolveTool } from '../../tools/resolve.ts';

export const NAMESPACE = 'kairos-system';
const RELEASE = 'kairos-operator';
const OWN_NAMESPACE = fileURLToPath(new URL('../../deploy/operator/namespace.yaml', import.meta.url));
const WORKLOADS = fileURLToPath(new URL('workloads.yaml', import.meta.url));

const OLD = { reference: 'rig.example.com/kairos:v4.0.2', version: 'v4.0.2', boots: true };
const NEW = { reference: 'rig.example.com/kairos:v4.0.3', version: 'v4.0.3', boots: true };
const NEWER = { reference: 'rig.example.com/kairos:v4.0.4', version: 'v4.0.4', boots: true };
const BAD = { reference: 'rig.example.com/kairos:v4.0.5', version: 'v4.0.5', boots: false };
const PLAIN = { reference: 'rig.example.com/debian:12', version: undefined, boots: true };
export const IMAGES = { new: NEW.reference, newer: NEWER.reference, bad: BAD.reference } as const;
const versionOf = ({ version }: { version: string }) => `${version}-k3s${KUBERNETES}`;
export const VERSIONS = { old: versionOf(OLD), new: versionOf(NEW), newer: versionOf(NEWER) } as const;

export interface RealNode {
  readonly name: string;
  readonly role: Role;
  /** A machine that is not Kairos. */
  readonly plain?: true;
  /** Whether Temporal's volume is on it. */
  readonly temporal?: true;
}

/** Real nodes with the operator's chart, and what a test asks of both. */
export interface RealStage {
  readonly rig: Rig;
  readonly observer: Observer;
  readonly kairosNodes: Reflector<KairosNodeView>;
  recordings(): NodeRecording[];
  /** Throws with what it said when it fails. */
  kubectl(...args: string[]): Promise<string>;
  helm(...args: string[]): Promise<string>;
  /** `helm install --wait`, with the embedded Temporal on its volume; answers how long it took, in ms. */
  install(...args: string[]): Promise<number>;
  /** What `helm upgrade` needs beside the name: chart, namespace and the values of this stage. */
  readonly values: readonly string[];
  /** Runs the `temporal` CLI in the pod of Temporal. */
  temporal(...args: string[]): Promise<string>;
  /** Runs the `temporal` CLI here, against this address. */
  temporalCLI(address: string, ...args: string[]): Promise<string>;
  /** Of a NodeOpUpgrade whose rollout has begun. */
  rolloutID(name: string): Promise<string>;
  /** What carries the operator's label in the whole cluster, and is of no namespace: `kind/name`. */
  ownObjects(): Promise<string[]>;
  /** A port of 127.0.0.1 that leads to a port of something in the operator's namespace, until it is closed. */
  forward(target: string, port: number): Promise<{ port: number; close: () => void }>;
  upgrade(name: string, image: string, spec?: { strategy?: object; [field: string]: unknown }): Promise<void>;
  status(name: string): NodeOpUpgradeStatus | undefined;
  /** Resolves when this attempt has ended, by its rollout and by the watcher. */
  ended(name: string, withinMs?: number): Promise<NodeOpUpgradeStatus>;
  /** Asks until the answer holds; throws with the last answer. */
  until<T>(what: string, ask: () => T | Promise<T>, holds: (answer: T) => boolean, withinMs?: number): Promise<T>;
  /** A pod on this node that no eviction moves; the answer lets it go. */
  holdDrain(node: string): Promise<() => Promise<void>>;
  /** Tag of an image of Temporal that says it is of another version; only where the stage was asked for it. */
  readonly nextTemporalTag: string;
  /** What a person would look at when something does not go on. */
  diagnosis(): Promise<string>;
  stop(): Promise<void>;
}

/** Starts the machines and a workload, without the operator. */
export async function startRealStage(
  nodes: readonly RealNode[],
  log: (line: string) => void,
  { nextTemporal = false }: { nextTemporal?: boolean } = {},
): Promise<RealStage> {
  const wanted = [OLD, NEW, NEWER, BAD, ...(nodes.some(({ plain }) => plain) ? [PLAIN] : [])];
  const system = await buildSystemImages(wanted, log);
  const product = await buildImages(progressOn(), nextTemporal ? [TEMPORAL_NEXT] : []);
  const imageOf = ({ plain }: RealNode): BuiltImage => (plain === true ? system.at(-1) : system[0]) as BuiltImage;
  const rig = await startRig({
    machines: nodes.map((node) => ({ name: node.name, role: node.role, image: imageOf(node) })),
    archives: [...product.map(({ file }) => file), ...system.map(({ archive }) => archive)],
    audiences: ['kairos-rig'],
    log,
  });
  const eyes = patientClient(rig.client);
  const observer = startObserver(eyes, STEP_LABEL);
  const stops = [() => observer.stop()];
  const stop = async () => {
    for (const one of stops) one();
    await rig.stop();
  };
  try {
    await observer.synced();
    const recordings = recordMachines(rig.machines, observer.nodes);
    await giveTemporalAVolume(rig, nodes);
    const stage = await stageOf({ rig, observer, recordings, stops, stop, eyes });
    await stage.kubectl('apply', '-f', WORKLOADS, '-f', OWN_NAMESPACE);
    return stage;
  } catch (error) {
    await stop();
    throw error;
  }
}

type Parts = Pick<RealStage, 'rig' | 'observer' | 'recordings' | 'stop'> & {
  stops: (() => void)[];
  eyes: Rig['client'];
};

async function stageOf({ rig, observer, recordings, stops, stop, eyes }: Parts): Promise<RealStage> {
  const [kubectlProgram, helmProgram] = await Promise.all([resolveTool('kubectl'), resolveTool('helm')]);
  const kubectl = (...args: string[]) =>
    patiently(() => run(kubectlProgram, ['--kubeconfig', rig.kubeconfig, ...args]));
  const helm = (...args: string[]) => run(helmProgram, ['--kubeconfig', rig.kubeconfig, ...args]);
  const image = (name: string, repository: string) => `${name}image.repository=${repository},${name}image.tag=test`;
  const chart = path.join(rig.folder, 'kairos-operator');
  copyChart(chart);
  const values = [
    chart,
    '--namespace',
    NAMESPACE,
    '--set',
    `${image('', 'kairos-operator')},${image('agent.', 'kairos-operator-agent')},clusterName=rig`,
  ];
  const kairosNodes = watchedLater(() => watchKairosNodes(eyes));
  const upgrades = watchedLater(() => watchNodeOpUpgrades(eyes, [NAMESPACE]));
  stops.push(kairosNodes.stop, upgrades.stop);

  const until: RealStage['until'] = async (what, ask, holds, withinMs = 60_000) => {
    const giveUpAtMs = Date.now() + withinMs;
    for (;;) {
      const answer = await ask();
      if (holds(answer)) return answer;
      if (Date.now() > giveUpAtMs)
        throw new Error(`${what}: not within ${withinMs} ms; last: ${JSON.stringify(answer)}\n${await diagnosis()}`);
      await sleep(200);
    }
  };

  async function diagnosis(): Promise<string> {
    const asked = [
      ['get', 'nodes,pods,jobs', '-A', '-o', 'wide'],
      ['get', 'kairosnodes,nodeopupgrades', '-A', '-o', 'wide'],
      ...['watcher', 'worker'].map((name) => ['logs', '-n', NAMESPACE, `deployment/kairos-${name}`, '--tail=15']),
      ['get', 'events', '-A', '--sort-by=.lastTimestamp', '--no-headers'],
    ];
    const answers = await Promise.all(asked.map((args) => kubectl(...args).catch((error: Error) => error.message)));
    const consoles = rig.machines.map((machine) => `${machine.name}:\n${consoleTail(machine, 5)}`);
    return [...answers.map((text) => text.split('\n').slice(-50).join('\n')), ...consoles].join('\n\n');
  }

  return {
    rig,
    observer,
    get kairosNodes() {
      return kairosNodes.get();
    },
    recordings,
    kubectl,
    helm,
    values,
    until,
    diagnosis,
    stop,
    async install(...args) {
      const fromMs = Date.now();
      await helm('install', RELEASE, ...values, '--wait', '--timeout', '5m', ...args).catch(async (error: Error) => {
        throw new Error(`${error.message}\n${await diagnosis()}`);
      });
      const tookMs = Date.now() - fromMs;
      await Promise.all([kairosNodes.get().synced(), upgrades.get().synced()]);
      return tookMs;
    },
    temporal: (...args) => kubectl('exec', '-n', NAMESPACE, 'kairos-temporal-0', '--', 'temporal', ...args),
    temporalCLI: async (address, ...args) => run(await resolveTool('temporal'), [...args, '--address', address]),
    async rolloutID(name) {
      const id = () => upgrades.get().get(`${NAMESPACE}/${name}`)?.status?.rollout?.workflowID;
      return (await until(`the rollout of ${name} begins`, id, (found) => found !== undefined)) as string;
    },
    async ownObjects() {
      const kinds = await kubectl('api-resources', '--namespaced=false', '--verbs=list', '-o', 'name');
      // Nodes and what belongs to them carry the label of the managed node only.
      const asked = kinds.split('\n').filter((kind) => !kind.endsWith('.metrics.k8s.io'));
      const label = 'app.kubernetes.io/part-of=kairos-operator';
      const names = await kubectl('get', asked.join(','), '-l', label, '-o', 'name', '--ignore-not-found');
      const own = names.split('\n').filter((name) => name !== '' && name !== `namespace/${NAMESPACE}`);
      return own
        .map((name) => name.replace('.apiextensions.k8s.io', '').replace('.rbac.authorization.k8s.io', ''))
        .toSorted();
    },
    async forward(target, port) {
      const local = await freePort();
      const args = ['--kubeconfig', rig.kubeconfig, 'port-forward', '-n', NAMESPACE, target, `${local}:${port}`];
      const child = spawn(kubectlProgram, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise<void>((resolve, reject) => {
        child.stdout.once('data', () => resolve());
        child.once('exit', (code) => reject(new Error(`kubectl port-forward ${target} ended with ${code}`)));
      });
      return { port: local, close: () => void child.kill() };
    },
    async upgrade(name, target, spec = {}) {
      const body = {
        apiVersion: 'operator.kairos.io/v1alpha1',
        kind: 'NodeOpUpgrade',
        metadata: { name },
        // As by default, but for the minutes that the canary soaks then.
        spec: {
          image: target,
          ...spec,
          strategy: { waves: [{ name: 'canary', nodes: 1, soak: '2s' }, { name: 'workers' }], ...spec.strategy },
        },
      };
      const collection = `/apis/operator.kairos.io/v1alpha1/namespaces/${NAMESPACE}/nodeopupgrades`;
      await eyes.request({ verb: 'create', path: collection, body });
    },
    nextTemporalTag: TEMPORAL_NEXT.name.split(':')[1] ?? '',
    async holdDrain(node) {
      const name = `held-on-${node}`;
      const selector = { matchLabels: { app: name } };
      const spec = {
        nodeSelector: { 'kubernetes.io/hostname': node },
        containers: [{ name: 'app', image: 'pause:test' }],
      };
      const template = { metadata: { labels: { app: name } }, spec };
      const objects = [
        ['/apis/policy/v1/namespaces/shop/poddisruptionbudgets', { spec: { maxUnavailable: 0, selector } }],
        ['/apis/apps/v1/namespaces/shop/deployments', { spec: { replicas: 1, selector, template } }],
      ] as const;
      const metadata = { name };
      for (const [path, body] of objects) await eyes.request({ verb: 'create', path, body: { metadata, ...body } });
      await kubectl('rollout', 'status', '-n', 'shop', `deployment/${name}`, '--timeout=1m');
      return async () => {
        for (const [path] of objects) await eyes.request({ verb: 'delete', path: `${path}/${name}` });
      };
    },
    status: (name) => upgrades.get().get(`${NAMESPACE}/${name}`)?.status,
    async ended(name, withinMs = 300_000) {
      const look = (): NodeOpUpgrade | undefined => upgrades.get().get(`${NAMESPACE}/${name}`);
      const isOver = (now: NodeOpUpgrade | undefined) =>
        isFinal(now?.status?.rollout?.phase) &&
        isFinal(now?.status?.phase) &&
        now?.status?.observedGeneration === now?.metadata.generation &&
        now?.status?.rollout?.generation === now?.metadata.generation;
      const found = await until(`NodeOpUpgrade ${name} ends`, look, isOver, withinMs);
      return found?.status as NodeOpUpgradeStatus;
    },
  };
}

/** Of a resource whose definition the chart brings: watched from the first question on. */
function watchedLater<T>(open: () => Reflector<T>): { get: () => Reflector<T>; stop: () => void } {
  let reflector: Reflector<T> | undefined;
  return { get: () => (reflector ??= open()), stop: () => reflector?.stop() };
}

/** What an administrator of an edge cluster without a storage provider makes: a volume on one node's persistent disk. */
async function giveTemporalAVolume(rig: Rig, nodes: readonly RealNode[]): Promise<void> {
  const host = nodes.find(({ temporal }) => temporal) ?? nodes[0];
  if (host === undefined) return;
  const folder = path.join(rig.machine(host.name).disk.folder, 'persistent', 'local', 'temporal');
  mkdirSync(folder);
  chownSync(folder, 1000, 1000);
  const storageClass = 'local';
  const { client } = rig;
  await client.request({
    verb: 'create',
    path: '/apis/storage.k8s.io/v1/storageclasses',
    body: {
      metadata: { name: storageClass, annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'kubernetes.io/no-provisioner',
      volumeBindingMode: 'WaitForFirstConsumer',
    },
  });
  const onHost = { key: 'kubernetes.io/hostname', operator: 'In', values: [host.name] };
  await client.request({
    verb: 'create',
    path: '/api/v1/persistentvolumes',
    body: {
      metadata: { name: 'temporal' },
      spec: {
        capacity: { storage: '10Gi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: storageClass,
        persistentVolumeReclaimPolicy: 'Retain',
        local: { path: '/usr/local/temporal' },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [onHost] }] } },
      },
    },
  });
}

/** What a command says that met an API server, or a Temporal, whose node was just rebooting. */
const AWAY =
  /refused|TLS handshake|\bEOF\b|connection reset|i\/o timeout|context deadline exceeded|unable to upgrade connection/;
const BACK_WITHIN_MS = 90_000;

/** Repeats a command that may be repeated, as a person would type it again. */
async function patiently(command: () => Promise<string>): Promise<string> {
  const giveUpAtMs = Date.now() + BACK_WITHIN_MS;
  for (;;) {
    try {
      return await command();
    } catch (error) {
      if (!AWAY.test((error as Error).message) || Date.now() > giveUpAtMs) throw error;
      await sleep(1000);
    }
  }
}

function run(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { maxBuffer: 64 * 1024 * 1024, timeout: 360_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout.trim());
      else reject(new Error(`${path.basename(program)} ${args.slice(2).join(' ')}: ${stderr || error.message}`));
    });
  });
}
