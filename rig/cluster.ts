import { copyFileSync, existsSync, linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectToCluster, type KubeClient } from '../kube/client.ts';
import { resolveTool } from '../tools/resolve.ts';
import { openAuthority } from './credentials.ts';
import { unpackImage } from './disk.ts';
import type { BuiltImage } from './images.ts';
import { nameRig, removeLeftovers, rigFolder, rigGroup } from './leftovers.ts';
import { removeGroup } from './cgroups.ts';
import {
  API_PORT,
  CONTAINERD,
  addressOf,
  writeMachineFiles,
  type MachineIdentity,
  type Role,
} from './machine-files.ts';
import { buildMachine, consoleTail, type Machine } from './machine.ts';
import { missingRequirements } from './requirements.ts';
import { copyRuntimeStore, prepareRuntimeStore } from './runtime-store.ts';
import { startSwitch, type Switch } from './switch.ts';

export interface MachineSpec {
  readonly name: string;
  readonly role: Role;
  /** What it runs at first. */
  readonly image: BuiltImage;
}

export interface RigOptions {
  /** The first one with the role control-plane runs the API server. */
  readonly machines: readonly MachineSpec[];
  /** Archives of images that every machine's runtime holds from its first boot on. */
  readonly archives: readonly string[];
  /** Audiences that the API server accepts beside its own. */
  readonly audiences?: readonly string[];
  readonly log: (line: string) => void;
}

/** A cluster of real nodes, each with its own kubelet, container runtime and kube-proxy, on one machine. */
export interface Rig {
  readonly folder: string;
  readonly client: KubeClient;
  /** Of a user in system:masters. */
  readonly kubeconfig: string;
  readonly machines: readonly Machine[];
  machine(name: string): Machine;
  /** Cuts the power of everything and removes all that was made. */
  stop(): Promise<void>;
}

const BINARIES = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
] as const;
const READY_WITHIN_MS = 180_000;
const CONTROL_PLANE_LABEL = 'node-role.kubernetes.io/control-plane';
let rigs = 0;

/**
 * Starts the machines and resolves when all nodes are Ready and the control-plane node is labelled as one.
 * @throws Error that says what this machine lacks, or shows the consoles of the machines that do not come up; nothing is left then
 */
export async function startRig(options: RigOptions): Promise<Rig> {
  const missing = missingRequirements();
  if (missing.length > 0) throw new Error(missing.join('\n'));
  const removed = await removeLeftovers();
  if (removed.length > 0) options.log(`removed what was left of ${removed.join(', ')}`);
  const name = nameRig(++rigs);
  const folder = rigFolder(name);
  const group = rigGroup(name);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const machines: Machine[] = [];
  let net: Switch | undefined;
  let client: KubeClient | undefined;

  async function stop(): Promise<void> {
    await Promise.all(machines.map((machine) => machine.powerOff()));
    await client?.close();
    net?.stop();
    await removeGroup(group);
    rmSync(folder, { recursive: true, force: true });
  }

  try {
    const binaries = await gather(path.join(folder, 'bin'), await programs());
    const store = await prepareRuntimeStore(options.archives, CONTAINERD, options.log);
    const identities = options.machines.map(({ name, role }, at) => ({ name, role, index: at + 1 }));
    const apiServer = controlPlaneOf(identities);
    const api = { host: addressOf(apiServer), port: API_PORT };
    const network = await startSwitch({ folder, group: `${group}/switch`, api });
    net = network;
    const authority = openAuthority(folder);
    const cluster = { authority, machines: identities, audiences: options.audiences ?? [] };
    const roots = path.join(folder, 'roots');
    const unpacked = ({ archive }: BuiltImage) => {
      const root = path.join(roots, path.basename(archive, '.tar'));
      if (!existsSync(root)) unpackImage(archive, root);
      return root;
    };
    for (const [at, identity] of identities.entries()) {
      const machine = buildMachine({
        ...identity,
        folder: path.join(folder, 'machines', identity.name),
        group: `${group}/${identity.name}`,
        switchPID: network.pid,
        binaries,
        ...(identity === apiServer && { onPowerOff: () => network.cutConnections() }),
      });
      machine.disk.install(unpacked((options.machines[at] as MachineSpec).image));
      await copyRuntimeStore(store, path.join(machine.disk.folder, 'persistent', 'var', 'lib', 'containerd'));
      writeMachineFiles(path.join(machine.disk.folder, 'oem'), identity, cluster);
      machines.push(machine);
      machine.powerOn();
    }
    const kubeconfig = path.join(folder, 'admin.kubeconfig');
    const admin = { name: 'admin', subject: '/O=system:masters/CN=admin' };
    writeFileSync(kubeconfig, authority.kubeconfig(admin, `https://127.0.0.1:${network.apiPort}`), { mode: 0o600 });
    const connected = connectToCluster({ kubeconfig });
    client = connected;
    await becomeReady(connected, machines);
    await connected.request({
      verb: 'merge-patch',
      path: `/api/v1/nodes/${apiServer.name}`,
      body: { metadata: { labels: { [CONTROL_PLANE_LABEL]: '' } } },
      fieldManager: 'rig',
    });
    const find = (wanted: string) => {
      const found = machines.find((machine) => machine.name === wanted);
      if (found === undefined)
        throw new Error(`machine ${wanted}: there are ${machines.map((one) => one.name).join(', ')}`);
      return found;
    };
    return { folder, client: connected, kubeconfig, machines, machine: find, stop };
  } catch (error) {
    const consoles = machines.map((machine) => `console of ${machine.name}:\n${consoleTail(machine)}`);
    await stop();
    throw new Error([`the rig does not come up: ${(error as Error).message}`, ...consoles].join('\n'), {
      cause: error,
    });
  }
}

function controlPlaneOf(machines: readonly MachineIdentity[]): MachineIdentity {
  const found = machines.find(({ role }) => role === 'control-plane');
  if (found === undefined) throw new Error('a rig needs a machine with the role control-plane');
  return found;
}

async function programs(): Promise<string[]> {
  return Promise.all(BINARIES.map((name) => resolveTool(name)));
}

/** Puts files into one folder, which machines mount: by links where that can be. */
async function gather(folder: string, files: readonly string[]): Promise<string> {
  mkdirSync(folder, { recursive: true });
  for (const file of files) {
    const to = path.join(folder, path.basename(file));
    try {
      linkSync(file, to);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
      copyFileSync(file, to);
    }
  }
  return folder;
}

interface NodeStatus {
  metadata: { name: string };
  status?: { conditions?: { type: string; status: string }[] };
}

async function becomeReady(client: KubeClient, machines: readonly Machine[]): Promise<void> {
  const giveUpAtMs = Date.now() + READY_WITHIN_MS;
  let missing: string[] = [];
  do {
    const { items } = await client
      .request<{ items: NodeStatus[] }>({ verb: 'list', path: '/api/v1/nodes' })
      .catch(() => ({ items: [] }));
    const ready = items.filter((node) =>
      node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
    );
    missing = machines.map(({ name }) => name).filter((name) => !ready.some(({ metadata }) => metadata.name === name));
    if (missing.length === 0) return;
    await sleep(250);
  } while (Date.now() < giveUpAtMs);
  throw new Error(`not Ready within ${READY_WITHIN_MS / 1000} s: ${missing.join(', ')}`);
}
