import { readFileSync } from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { parse } from 'yaml';
import { taskQueue } from '../../api/messages.ts';
import { STEP_LABEL } from '../../api/names.ts';
import type { NodeOpUpgrade } from '../../api/types.ts';
import { connectToCluster } from '../../kube/client.ts';
import { readClusterIdentity } from '../../kube/identity.ts';
import { watchKairosNodes } from '../../kube/kairos-nodes.ts';
import { watchNodeOpUpgrades } from '../../kube/node-op-upgrades.ts';
import { resolveBudget } from '../../policy/budget.ts';
import { formatDuration } from '../../policy/duration.ts';
import { isFinal } from '../../policy/engine.ts';
import { resolveSpec } from '../../policy/strategy.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { startCluster, type SimulatedCluster } from '../cluster.ts';
import { kairosImage } from '../images.ts';
import { checkInvariants } from '../invariants.ts';
import { startObserver } from '../observer.ts';
import { startProduct } from '../product.ts';
import { startTemporal } from '../temporal-server.ts';
import { DEFAULT_TIMINGS } from '../timings.ts';
import { countEvents, countRequests, idealMs } from './figures.ts';
import type { DemoOptions } from './options.ts';
import { printTable } from './table.ts';
import { LiveView } from './view.ts';

const SAMPLE = fileURLToPath(new URL('../../deploy/samples/nodeopupgrade.yaml', import.meta.url));
const WORKLOADS = fileURLToPath(new URL('workloads.yaml', import.meta.url));
const OLD_IMAGE = 'quay.io/kairos/hadron:v0.0.4-standard-amd64-generic-v4.0.2-k3sv1.32.11-k3s1';
const CLUSTER_NAME = 'demo';
const TARGET = 'v4.0.3-k3sv1.33.9+k3s1';
const TIMINGS = { ...DEFAULT_TIMINGS, pullMs: 1000, upgradeMs: 3000, bootMs: 4000 };
/** Above it one process per agent would be what the machine is busy with. */
const OWN_PROCESS_UP_TO = 20;

/** Undone in reverse order, each whatever became of the others. */
type CleanUp = (() => Promise<void> | void)[];

/**
 * Builds a cluster, upgrades it as a user would, shows it, and checks what must never happen.
 * @returns the exit code: 0 when all nodes run the target and every invariant held
 */
export async function runDemo(options: DemoOptions, folder: string, signal: AbortSignal): Promise<number> {
  const cleanUp: CleanUp = [];
  try {
    return await demonstrate(options, folder, signal, cleanUp);
  } finally {
    for (const undo of cleanUp.reverse()) {
      try {
        await undo();
      } catch (error) {
        console.error(`clean-up: ${(error as Error).message}`);
      }
    }
  }
}

async function demonstrate(
  options: DemoOptions,
  folder: string,
  signal: AbortSignal,
  cleanUp: CleanUp,
): Promise<number> {
  const nodes = options.controlPlane + options.workers;
  console.log(
    `Starting a cluster of ${nodes} simulated Kairos nodes on a real control plane, and Temporal. Logs: ${path.relative(process.cwd(), folder)}/logs`,
  );
  const sample = parse(readFileSync(SAMPLE, 'utf8')) as NodeOpUpgrade;
  const [cluster, temporal] = await together(
    startCluster({
      folder,
      controlPlaneNodes: options.controlPlane,
      workerNodes: options.workers,
      image: OLD_IMAGE,
      images: [
        kairosImage(OLD_IMAGE, 'v4.0.2', { kubernetes: 'v1.32.11+k3s1' }),
        kairosImage(sample.spec.image, 'v4.0.3'),
      ],
      timings: TIMINGS,
      agents: nodes <= OWN_PROCESS_UP_TO ? 'process-per-node' : 'one-process',
      auditLog: true,
    }),
    startTemporal({ folder }),
    cleanUp,
  );
  signal.throwIfAborted();
  const client = connectToCluster({ kubeconfig: cluster.controlPlane.adminKubeconfig });
  cleanUp.push(() => client.close());
  const product = await startProduct({
    folder,
    client,
    controlPlane: cluster.controlPlane,
    temporal,
    clusterName: CLUSTER_NAME,
  });
  cleanUp.push(() => product.stop());

  const kubectl = await kubectlFor(cluster);
  kubectl(['apply', '-f', WORKLOADS]);
  const observer = startObserver(client, STEP_LABEL);
  const kairosNodes = watchKairosNodes(client);
  const upgrades = watchNodeOpUpgrades(client);
  cleanUp.push(() => [observer, kairosNodes, upgrades].forEach((watch) => watch.stop()));
  await Promise.all([observer.synced(), kairosNodes.synced(signal), upgrades.synced(signal)]);
  const reported = () => [...kairosNodes.values()].filter((node) => node.status.bootID !== undefined).length === nodes;
  await kairosNodes.waitFor(
    undefined,
    () => (reported() ? true : undefined),
    AbortSignal.any([signal, AbortSignal.timeout(120_000)]),
  );
  await observer.healthy();
  await workerIsReady(temporal.address, taskQueue(await readClusterIdentity(client, CLUSTER_NAME)), signal);

  console.log(
    `Temporal UI: ${temporal.uiUrl}\ntemporal:    --address ${temporal.address}\nkubectl:     export KUBECONFIG=${path.relative(process.cwd(), cluster.controlPlane.adminKubeconfig)}\n`,
  );
  console.log(`$ kubectl apply -f deploy/samples/nodeopupgrade.yaml\n${readFileSync(SAMPLE, 'utf8')}`);
  const appliedAtMs = Date.now();
  console.log(kubectl(['apply', '-f', SAMPLE]));

  const key = `${sample.metadata.namespace}/${sample.metadata.name}`;
  const view = new LiveView(process.stdout, appliedAtMs);
  const draw = () => {
    const status = upgrades.get(key)?.status;
    const shown = [...observer.nodes.values()].map(({ name, controlPlane, ready }) => ({
      name,
      controlPlane,
      ready,
      kairos: kairosNodes.get(name),
    }));
    view.draw(shown, status?.phase ?? 'Pending', status?.message ?? '');
  };
  const drawing = setInterval(draw, 250);
  const finished = await upgrades
    .waitFor(key, (upgrade) => (isFinal(upgrade?.status?.rollout?.phase) ? upgrade : undefined), signal)
    .finally(() => clearInterval(drawing));
  const endedAtMs = Date.now();
  await upgrades
    .waitFor(
      key,
      (upgrade) => (isFinal(upgrade?.status?.phase) ? true : undefined),
      AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
    )
    .catch(() => undefined);
  draw();

  printTable([...kairosNodes.values()], observer.nodes);
  console.log(`\n${finished.status?.rollout?.phase}: ${finished.status?.rollout?.message}\n`);
  const spec = resolveSpec(sample.spec);
  const places = resolveBudget(spec.maxUnavailable, options.workers);
  const held = report(
    checkInvariants({
      target: TARGET,
      maxUnavailable: places,
      moments: observer.moments,
      breaches: observer.breaches,
      nodes: [...observer.nodes.values()],
      kairosNodes: [...kairosNodes.values()],
      recordings: cluster.recordings(),
    }),
  );
  const ideal = idealMs(cluster.recordings(), {
    drainMs: observer.drainMs,
    pullMs: TIMINGS.pullMs,
    podStartMs: TIMINGS.podStartMs,
    soakMs: spec.soakMs,
    places,
  });
  await printFigures({
    nodes,
    ideal,
    appliedAtMs,
    endedAtMs,
    firstPodAtMs: observer.firstPodAtMs,
    auditLog: cluster.controlPlane.auditLog,
    temporal: temporal.address,
  });
  if (options.keep && !signal.aborted) {
    console.log(`\nEverything stays up until Ctrl-C. Temporal UI: ${temporal.uiUrl}`);
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
  return held && finished.status?.rollout?.phase === 'Completed' ? 0 : 1;
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

async function kubectlFor(cluster: SimulatedCluster): Promise<(args: string[]) => string> {
  const program = await resolveTool('kubectl');
  return (args) => {
    const done = spawnSync(program, ['--kubeconfig', cluster.controlPlane.adminKubeconfig, ...args], {
      encoding: 'utf8',
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
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  } finally {
    await connection.close();
  }
}

function report(invariants: ReturnType<typeof checkInvariants>): boolean {
  for (const { name, broken } of invariants) {
    console.log(
      `${broken.length === 0 ? 'held  ' : 'BROKEN'}  ${name}${broken.length === 0 ? '' : `: ${broken.slice(0, 3).join('; ')}`}`,
    );
  }
  return invariants.every(({ broken }) => broken.length === 0);
}

interface Figures {
  nodes: number;
  ideal: number;
  appliedAtMs: number;
  endedAtMs: number;
  firstPodAtMs: number | undefined;
  auditLog: string | undefined;
  temporal: string;
}

async function printFigures({
  nodes,
  ideal,
  appliedAtMs,
  endedAtMs,
  firstPodAtMs,
  auditLog,
  temporal,
}: Figures): Promise<void> {
  const connection = await Connection.connect({ address: temporal });
  const events = await countEvents(new Client({ connection }));
  await connection.close();
  const requests = auditLog === undefined ? {} : countRequests(auditLog, appliedAtMs, endedAtMs);
  const all = Object.values(requests).reduce((sum, count) => sum + count, 0);
  const makespan = endedAtMs - appliedAtMs;
  console.log(`
apply to first pod      ${firstPodAtMs === undefined ? 'never' : `${((firstPodAtMs - appliedAtMs) / 1000).toFixed(2)} s`}
makespan                ${formatDuration(makespan)}, ideal ${formatDuration(ideal)} (${(makespan / ideal).toFixed(2)} times)
history events a node   ${(events / nodes).toFixed(0)}
API requests a node     ${(all / nodes).toFixed(1)} (${Object.entries(requests)
    .map(([account, count]) => `${account} ${(count / nodes).toFixed(1)}`)
    .join(', ')})`);
}
