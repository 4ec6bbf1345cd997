import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Connection } from '@temporalio/client';
import { parse } from 'yaml';
import { taskQueue } from '../../api/messages.ts';
import { STEP_LABEL } from '../../api/names.ts';
import type { NodeOpUpgrade } from '../../api/types.ts';
import { connectToCluster, type KubeClient } from '../../kube/client.ts';
import { readClusterIdentity } from '../../kube/identity.ts';
import { watchKairosNodes, type KairosNodeView } from '../../kube/kairos-nodes.ts';
import { watchNodeOpUpgrades } from '../../kube/node-op-upgrades.ts';
import type { Reflector } from '../../kube/reflector.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { startCluster, type SimulatedCluster } from '../cluster.ts';
import type { SimulatedImage } from '../images.ts';
import { startObserver, type Observer } from '../observer.ts';
import { patientClient } from '../patient-client.ts';
import { startProduct, type Product } from '../product.ts';
import { startTemporal, type TemporalServer } from '../temporal-server.ts';
import { DEFAULT_TIMINGS } from '../timings.ts';
import type { DemoOptions } from './options.ts';

/** Everything that a demo plays on: a cluster with the operator in it, and eyes on both. */
export interface Stand {
  readonly folder: string;
  readonly cluster: SimulatedCluster;
  readonly temporal: TemporalServer;
  readonly product: Product;
  readonly client: KubeClient;
  readonly observer: Observer;
  readonly kairosNodes: Reflector<KairosNodeView>;
  readonly upgrades: Reflector<NodeOpUpgrade>;
  /** Runs kubectl as the admin. Throws with what it said when it fails. */
  kubectl(args: readonly string[]): string;
}

/** Undone in reverse order, each whatever became of the others. */
export type CleanUp = (() => Promise<void> | void)[];

export const SAMPLE = 'deploy/samples/nodeopupgrade.yaml';
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WORKLOADS = fileURLToPath(new URL('workloads.yaml', import.meta.url));
const CLUSTER_NAME = 'demo';
export const TIMINGS = { ...DEFAULT_TIMINGS, pullMs: 1000, upgradeMs: 3000, bootMs: 4000 };
/** Above it one process per agent would be what the machine is busy with. */
const OWN_PROCESS_UP_TO = 20;

/** The upgrade that a demo applies, as users find it. */
export function readSample(): { text: string; upgrade: NodeOpUpgrade } {
  const text = readFileSync(path.join(ROOT, SAMPLE), 'utf8');
  return { text, upgrade: parse(text) as NodeOpUpgrade };
}

export interface StandOptions {
  readonly demo: DemoOptions;
  /** Absolute path. */
  readonly folder: string;
  /** What the registry holds; the machines run the first one. */
  readonly images: readonly [SimulatedImage, ...SimulatedImage[]];
  readonly signal: AbortSignal;
  readonly cleanUp: CleanUp;
}

/** Starts it all; resolves when every agent has reported, every pod runs and the worker takes work. */
export async function startStand({ demo, folder, images, signal, cleanUp }: StandOptions): Promise<Stand> {
  const nodes = demo.controlPlane + demo.workers;
  const [cluster, temporal] = await together(
    startCluster({
      folder,
      controlPlaneNodes: demo.controlPlane,
      workerNodes: demo.workers,
      image: images[0].reference,
      images,
      timings: TIMINGS,
      agents: nodes <= OWN_PROCESS_UP_TO ? 'process-per-node' : 'one-process',
      auditLog: true,
      ...(demo.story.kind === 'chaos' && { outliveApiServer: true }),
    }),
    startTemporal({ folder }),
    cleanUp,
  );
  signal.throwIfAborted();
  const client = connectToCluster({ kubeconfig: cluster.controlPlane.adminKubeconfig });
  cleanUp.push(() => client.close());
  const { controlPlane } = cluster;
  const product = await startProduct({ folder, client, controlPlane, temporal, clusterName: CLUSTER_NAME });
  cleanUp.push(() => product.stop());

  const kubectl = await kubectlFor(cluster);
  kubectl(['apply', '-f', WORKLOADS]);
  const eyes = patientClient(client);
  const observer = startObserver(eyes, STEP_LABEL);
  const kairosNodes = watchKairosNodes(eyes);
  const upgrades = watchNodeOpUpgrades(eyes);
  cleanUp.push(() => [observer, kairosNodes, upgrades].forEach((watch) => watch.stop()));
  await Promise.all([observer.synced(), kairosNodes.synced(signal), upgrades.synced(signal)]);
  const reported = () => [...kairosNodes.values()].filter((node) => node.status.bootID !== undefined).length === nodes;
  const inTime = AbortSignal.any([signal, AbortSignal.timeout(120_000)]);
  await kairosNodes.waitFor(undefined, () => (reported() ? true : undefined), inTime);
  await observer.healthy();
  await workerIsReady(temporal.address, taskQueue(await readClusterIdentity(client, CLUSTER_NAME)), signal);
  return { folder, cluster, temporal, product, client, observer, kairosNodes, upgrades, kubectl };
}

/** Starts both; whatever did start is cleaned up, also when the other did not. */
async function together<A extends { stop(): Promise<void> }, B extends { stop(): Promise<void> }>(
  a: Promise<A>,
  b: Promise<B>,
  cleanUp: CleanUp,
): Promise<[A, B]> {
  const keep = <T extends { stop(): Promise<void> }>(started: T) => {
    cleanUp.push(() => started.stop());
    return started;
  };
  const [first, second] = await Promise.allSettled([a.then(keep), b.then(keep)]);
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  return [first.value, second.value];
}

async function kubectlFor(cluster: SimulatedCluster): Promise<Stand['kubectl']> {
  const program = await resolveTool('kubectl');
  return (args) => {
    const done = spawnSync(program, ['--kubeconfig', cluster.controlPlane.adminKubeconfig, ...args], {
      encoding: 'utf8',
      cwd: ROOT,
    });
    if (done.status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${done.stderr}`);
    return done.stdout.trim();
  };
}

/** The worker polls its queue: until then a rollout would start late, and the demo would measure that. */
async function workerIsReady(address: string, name: string, signal: AbortSignal): Promise<void> {
  const connection = await Connection.connect({ address });
  try {
    for (;;) {
      signal.throwIfAborted();
      const queue = await connection.workflowService.describeTaskQueue({ namespace: 'default', taskQueue: { name } });
      if ((queue.pollers?.length ?? 0) > 0) return;
      await sleep(200);
    }
  } finally {
    await connection.close();
  }
}
