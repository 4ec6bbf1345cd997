import { setTimeout as sleep } from 'node:timers/promises';
import { LEAST_KILLS, PARTS, type Kill, type Part } from './chaos.ts';
import type { SimulatedCluster } from './cluster.ts';
import type { ManagedProcess } from './processes.ts';
import type { Product } from './product.ts';
import type { TemporalServer } from './temporal-server.ts';

export interface ChaosTargets {
  readonly cluster: SimulatedCluster;
  readonly temporal: TemporalServer;
  readonly product: Product;
}

/** What happened to a part, in words for a person. */
export type TellChaos = (part: string, what: string) => void;

/** A plan that is being carried out. */
export interface Chaos {
  /** How often each part was killed so far; `etcd` of its own. */
  readonly kills: Readonly<Record<Part | 'etcd', number>>;
  /** Processes that ended although nobody killed them. They are started again, as kubelet does it. */
  readonly ended: readonly string[];
  /** Kills of the plan that have not been carried out. */
  readonly left: number;
  /** Aborted, with the reason, when a part does not start again. */
  readonly failed: AbortSignal;
  /** No kill after this; resolves when every server runs again (agents follow within their back-off). */
  finish(): Promise<void>;
  /** Starts nothing any more from this moment on, so that whoever stops the parts stops them for good. */
  stop(): void;
}

/** Of kubelet the first; later ones grow. */
const RESTART_MS = 1000;
const AGENT_ASKED_AGAIN_MS = 100;

/** Carries out the plan, from now on: what is killed is started again after its time. */
export function startChaos(plan: readonly Kill[], targets: ChaosTargets, tell: TellChaos): Chaos {
  const { cluster, temporal, product } = targets;
  const { etcd, 'kube-apiserver': apiServer, ...controllers } = cluster.controlPlane.processes;
  const k3s = [apiServer, ...Object.values(controllers)];
  const startedAtMs = Date.now();
  const stopping = new AbortController();
  const noMore = new AbortController();
  const failing = new AbortController();
  const kills = { worker: 0, watcher: 0, temporal: 0, 'api-server': 0, agent: 0, etcd: 0 };
  const ended: string[] = [];
  const down = new Set<ManagedProcess>();

  async function start(process: ManagedProcess): Promise<void> {
    stopping.signal.throwIfAborted();
    await process.start();
    down.delete(process);
  }

  /** All at once down, one after the other up. */
  async function killAndStart(part: Part, processes: readonly ManagedProcess[], kill: Kill): Promise<void> {
    for (const process of processes) down.add(process);
    await Promise.all(processes.map((process) => process.kill('SIGKILL')));
    kills[part]++;
    if (kill.etcd === true) kills.etcd++;
    tell(nameOf(kill), `killed, starts again after ${seconds(kill.downMs)}`);
    await sleep(kill.downMs, undefined, { signal: stopping.signal });
    for (const process of processes) await start(process);
    if (part === 'api-server') {
      down.add(cluster.kwok);
      await cluster.restartKwok();
      down.delete(cluster.kwok);
    }
    tell(nameOf(kill), 'runs again');
  }

  async function killAgent(kill: Kill): Promise<void> {
    const nodes = cluster.nodes();
    const first = Math.max(0, nodes.indexOf(kill.node ?? ''));
    const order = [...nodes.slice(first), ...nodes.slice(0, first)];
    for (;;) {
      for (const node of order) {
        if (!cluster.killAgent(node, { downMs: kill.downMs })) continue;
        kills.agent++;
        tell(`agent ${node}`, `killed, starts again after ${seconds(kill.downMs)}`);
        return;
      }
      await sleep(AGENT_ASKED_AGAIN_MS, undefined, { signal: noMore.signal });
    }
  }

  /** One part's kills, one after the other. */
  async function work(part: Part): Promise<void> {
    for (const kill of plan.filter((kill) => kill.part === part)) {
      await sleep(Math.max(0, startedAtMs + kill.atMs - Date.now()), undefined, { signal: noMore.signal });
      if (part === 'agent') await killAgent(kill);
      else await killAndStart(part, processesOf(kill), kill);
    }
  }

  function processesOf({ part, etcd: withEtcd }: Kill): ManagedProcess[] {
    if (part === 'worker' || part === 'watcher') return [product[part]];
    if (part === 'temporal') return [temporal.process];
    return withEtcd === true ? [etcd, ...k3s] : k3s;
  }

  /** What ends by itself is noted, and started again as its container runtime would. */
  async function keepRunning(process: ManagedProcess): Promise<void> {
    while (!noMore.signal.aborted) {
      const exit = await Promise.race([process.ended(), aborted(noMore.signal)]);
      if (noMore.signal.aborted) return;
      await sleep(RESTART_MS, undefined, { signal: noMore.signal });
      if (down.has(process) || process.running) continue;
      const how = exit?.signal ?? `exit code ${exit?.code ?? 'unknown'}`;
      ended.push(`${process.name} (${how})`);
      tell(process.name, `ended by itself with ${how}, starts again`);
      await start(process);
    }
  }

  const carryOut = async (task: Promise<void>): Promise<void> => {
    try {
      await task;
    } catch (error) {
      // The ends of waits, and of starts that a stop fell into.
      if ((error as Error).name !== 'AbortError' && !stopping.signal.aborted) failing.abort(error);
    }
  };
  const watched = [product.worker, product.watcher, temporal.process, etcd, ...k3s, cluster.kwok];
  const done = Promise.all([...PARTS.map(work), ...watched.map(keepRunning)].map(carryOut));
  const planned = Object.fromEntries(PARTS.map((part) => [part, plan.filter((kill) => kill.part === part).length]));
  return {
    kills,
    ended,
    failed: failing.signal,
    get left() {
      return PARTS.reduce((left, part) => left + (planned[part] ?? 0) - kills[part], 0);
    },
    async finish() {
      noMore.abort();
      await done;
      failing.signal.throwIfAborted();
    },
    stop() {
      noMore.abort();
      stopping.abort();
    },
  };
}

/** Parts that were killed less often than a run must have them killed. */
export function killedTooRarely(kills: Chaos['kills']): Part[] {
  return PARTS.filter((part) => kills[part] < LEAST_KILLS);
}

function nameOf({ part, etcd }: Kill): string {
  return etcd === true ? `${part}+etcd` : part;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
