import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectToCluster, type KubeClient } from '../kube/client.ts';
import { isReason } from '../kube/errors.ts';
import { startAgents, type AgentMode, type Agents } from './agents.ts';
import { applyFolder } from './apply.ts';
import { startControlPlane, type ControlPlane } from './control-plane.ts';
import { openImageRegistry, type ImageRegistry, type SimulatedImage } from './images.ts';
import { startKubelets, type Kubelets } from './kubelet.ts';
import { startKwok, writeStages } from './kwok.ts';
import { buildMachine, type Machine } from './machine.ts';
import { connectMachine, type NodeRecording, type SimulatedNode } from './node.ts';
import { nodeObject } from './node-object.ts';
import type { ManagedProcess } from './processes.ts';
import { DEFAULT_TIMINGS, type Timings } from './timings.ts';

export type { SimulatedImage } from './images.ts';
export type { NodeRecording } from './node.ts';
export type { Timings } from './timings.ts';

export interface ClusterOptions {
  /** Holds everything: absolute path. */
  readonly folder: string;
  readonly controlPlaneNodes: number;
  readonly workerNodes: number;
  /** Reference of the image that the machines run at first; one of `images`. */
  readonly image: string;
  readonly images: readonly SimulatedImage[];
  readonly timings?: Partial<Timings>;
  readonly agents: AgentMode;
  /** Nodes are put into so many zones in turn. Default 3. */
  readonly zones?: number;
  readonly auditLog?: boolean;
  /**
   * Whether nodes stay Ready while the API server is away for some seconds, as real ones do, whose leases are ten
   * times as long; a node that loses its power is then marked NotReady by the simulator. Default: above 50 nodes.
   */
  readonly outliveApiServer?: boolean;
  /** Told of what should not happen in the simulator itself. Default: thrown as an unhandled rejection. */
  readonly onError?: (error: unknown) => void;
}

export interface SimulatedCluster {
  readonly controlPlane: ControlPlane;
  readonly kwok: ManagedProcess;
  readonly images: ImageRegistry;
  /** In the order in which they came. */
  nodes(): string[];
  /** Throws for a node that is not there. */
  machine(name: string): Machine;
  /** Resolves with its name when the node is Ready. `image`: what is installed on it, instead of that of the others. */
  addNode(node?: { name?: string; controlPlane?: boolean; image?: string }): Promise<string>;
  /** Cuts its power and deletes the Node. */
  removeNode(name: string): Promise<void>;
  /** Whoever installs the image from now on gets one that does not boot. */
  makeImageBad(reference: string): void;
  mendImage(reference: string): void;
  /**
   * Keeps the machine off until {@link SimulatedCluster.release}: from now on, or, `at: 'power-off'`, from the moment
   * at which it goes down by itself, as at its next reboot.
   */
  holdDown(name: string, options?: { at?: 'now' | 'power-off' }): void;
  release(name: string): void;
  /**
   * SIGKILL to the process that runs the agent of a node (with `one-process`, of all nodes); its container runtime
   * starts it again after `downMs`, default 1000. False when none runs there.
   */
  killAgent(name: string, options?: { downMs?: number }): boolean;
  /**
   * kwok anew, with the images that are in the registry now. After outages of the API server it waits ever longer, up to
   * half a minute, before it connects again.
   */
  restartKwok(): Promise<void>;
  recordings(): NodeRecording[];
  /** Stops every process; the folder stays. */
  stop(): Promise<void>;
}

interface Member {
  readonly machine: Machine;
  readonly node: SimulatedNode;
}

const DEPLOY = fileURLToPath(new URL('../deploy', import.meta.url));
/** Above it the renewal of short leases would be what a measurement measures. */
const SHORT_LEASES_UP_TO = 50;
const SHORT_LEASE_SECONDS = 4;
const LONG_LEASE_SECONDS = 600;
const NODE_LEASES = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
const NOT_READY_AFTER_MS = 4000;
/** Nodes that come up at once. */
const TOGETHER = 40;

/**
 * Starts a real control plane with simulated machines as its nodes, applies the CRDs and the agent's DaemonSet, and
 * resolves when every node is Ready. Agents report a little later. Throws when a part does not start, and leaves none.
 */
export async function startCluster(options: ClusterOptions): Promise<SimulatedCluster> {
  const { folder } = options;
  const count = options.controlPlaneNodes + options.workerNodes;
  const longLeases = options.outliveApiServer ?? count > SHORT_LEASES_UP_TO;
  const timings = { ...DEFAULT_TIMINGS, ...options.timings };
  const onError =
    options.onError ??
    ((error: unknown) => {
      throw error;
    });

  mkdirSync(folder, { recursive: true });
  const images = openImageRegistry(join(folder, 'images'));
  for (const image of options.images) images.add(image);
  const first = images.find(options.image);
  if (first === undefined) throw new Error(`image ${options.image}: the machines are to run it, so list it in images`);

  const controlPlane = await startControlPlane({
    folder,
    auditLog: options.auditLog ?? false,
    nodeMonitorGraceMs: longLeases ? 2 * LONG_LEASE_SECONDS * 1000 : NOT_READY_AFTER_MS,
  });
  const client = connectToCluster({ kubeconfig: controlPlane.adminKubeconfig });
  const members = new Map<string, Member>();
  let kwok: ManagedProcess | undefined;
  let kubelets: Kubelets | undefined;
  let agents: Agents | undefined;
  let made = 0;

  async function stop(): Promise<void> {
    for (const { node, machine } of members.values()) {
      node.stop();
      machine.powerOff();
    }
    kubelets?.stop();
    await agents?.stop();
    await kwok?.stop();
    await client.close();
    await controlPlane.stop();
  }

  try {
    await applyFolder(client, join(DEPLOY, 'crds'));
    await applyFolder(client, join(DEPLOY, 'agent'));
    const leaseSeconds = longLeases ? LONG_LEASE_SECONDS : SHORT_LEASE_SECONDS;
    const kubeconfig = controlPlane.kwokKubeconfig;
    kwok = await startKwok({ folder, kubeconfig, images: images.all(), timings, leaseSeconds });
    const runKubelets = startKubelets({
      client,
      images,
      timings,
      machine: (name) => members.get(name)?.machine,
      onError,
    });
    kubelets = runKubelets;
    const runAgents = startAgents({ client, folder, mode: options.agents, apiServer: controlPlane, onError });
    agents = runAgents;
    await runKubelets.synced();

    const joinNode = async (name: string, isControlPlane: boolean, image = options.image): Promise<void> => {
      const index = made++;
      const identity = {
        name,
        controlPlane: isControlPlane,
        index,
        zone: `zone-${1 + (index % (options.zones ?? 3))}`,
      };
      const machineFolder = join(folder, 'machines', name);
      const imageFolder = images.find(image)?.folder;
      if (imageFolder === undefined) throw new Error(`image ${image} of ${name} is not in images`);
      const machine = buildMachine({ name, folder: machineFolder, imageFolder, bootMs: timings.bootMs });
      const node = connectMachine({
        machine,
        identity,
        client,
        kubelets: runKubelets,
        agents: runAgents,
        notReadyAfterMs: longLeases ? NOT_READY_AFTER_MS : undefined,
        onError,
      });
      members.set(name, { machine, node });
      await client.request({ verb: 'create', path: '/api/v1/nodes', body: nodeObject(identity) });
      // Nobody waits for a first boot.
      machine.powerOn({ bootMs: 0 });
      await machine.settled();
      await node.told();
    };
    const names = [
      ...Array.from({ length: options.controlPlaneNodes }, (_, index) => [`cp-${index + 1}`, true] as const),
      ...Array.from({ length: options.workerNodes }, (_, index) => [`worker-${index + 1}`, false] as const),
    ];
    for (let from = 0; from < names.length; from += TOGETHER) {
      const batch = names.slice(from, from + TOGETHER);
      await Promise.all(batch.map(([name, isControlPlane]) => joinNode(name, isControlPlane)));
    }
    const renewStages = () => void writeStages(folder, images.all(), timings);
    return simulatedCluster({ controlPlane, kwok, images, agents, client, members, joinNode, renewStages, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Parts {
  controlPlane: ControlPlane;
  kwok: ManagedProcess;
  images: ImageRegistry;
  agents: Agents;
  client: KubeClient;
  members: Map<string, Member>;
  joinNode(name: string, controlPlane: boolean, image?: string): Promise<void>;
  /** Tells the next kwok of the images that are in the registry now. */
  renewStages(): void;
  readonly stop: () => Promise<void>;
}

function simulatedCluster(parts: Parts): SimulatedCluster {
  const { controlPlane, kwok, images, client, members } = parts;

  function member(name: string): Member {
    const found = members.get(name);
    if (found === undefined)
      throw new Error(`node ${name} is not simulated here; there are ${[...members.keys()].join(', ')}`);
    return found;
  }

  function freeName(prefix: string): string {
    for (let number = 1; ; number++) if (!members.has(`${prefix}-${number}`)) return `${prefix}-${number}`;
  }

  return {
    controlPlane,
    kwok,
    images,
    nodes: () => [...members.keys()],
    machine: (name) => member(name).machine,
    async addNode({ name, controlPlane: isControlPlane = false, image } = {}) {
      const chosen = name ?? freeName(isControlPlane ? 'cp' : 'worker');
      await parts.joinNode(chosen, isControlPlane, image);
      return chosen;
    },
    async removeNode(name) {
      const { machine, node } = member(name);
      node.stop();
      machine.powerOff();
      members.delete(name);
      await client.request({ verb: 'delete', path: `/api/v1/nodes/${name}` }).catch((error: unknown) => {
        if (!isReason(error, 'NotFound')) throw error;
      });
      rmSync(machine.folder, { recursive: true, force: true });
    },
    makeImageBad: (reference) => images.setBoots(reference, false),
    mendImage: (reference) => images.setBoots(reference, true),
    holdDown(name, { at = 'now' } = {}) {
      const { machine } = member(name);
      machine.hold();
      if (at === 'now') machine.powerOff();
    },
    release: (name) => member(name).machine.release(),
    async restartKwok() {
      await kwok.kill('SIGKILL');
      parts.renewStages();
      // It minds only nodes whose lease it holds, and each process of it is another holder.
      await client.request({ verb: 'delete', path: NODE_LEASES });
      await kwok.start();
    },
    killAgent: (name, { downMs = 1000 } = {}) => parts.agents.kill(name, downMs),
    recordings: () => [...members.values()].map(({ node }) => node.recording()),
    stop: parts.stop,
  };
}
