import type { Connection } from '@temporalio/client';
import type { RolloutMemo } from '../api/messages.ts';
import { driftRolloutId, rolloutId } from '../kube/names.ts';
import { pause } from '../kube/pause.ts';
import { askWorker } from '../process/ask-worker.ts';
import { handMadeDrift } from '../policy/drift.ts';
import { timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from '../watcher/context.ts';

/** How long a worker has to answer, and how long until it is asked again. */
const WORKER_MS = 15_000;

/** What a rollout is told with its cancel, for the record. */
const WHY = { by: 'temporal', who: 'kairos-uninstall', reason: 'the operator is being uninstalled' };

/** What Temporal says, and since when it says nothing. */
export interface RolloutsSeen {
  /** Ids of those that are open. */
  open: string[];
  trouble?: string;
  /** For how long the trouble has lasted. */
  troubleMs: number;
}

/** Cancels the open rollouts of the cluster, each once, and tells which are left and what keeps them. */
export class Rollouts {
  readonly #context: WatcherContext;
  readonly #cancelled = new Set<string>();
  #open: string[] = [];
  #trouble: { reason: string; sinceMs: number } | undefined;
  #workerTrouble: string | undefined;

  constructor(context: WatcherContext) {
    this.#context = context;
  }

  /** Whether rollouts were cancelled, for the last words: those do not start again by themselves. */
  get cancelled(): string[] {
    return [...new Set([...this.#cancelled].map((key) => key.split(' ')[0] ?? ''))];
  }

  /** Looks at each that may be open, and cancels it. Never rejects: what Temporal does not answer is its trouble. */
  async look(): Promise<RolloutsSeen> {
    const reason = await this.#lookAndCancel().then(
      () => this.#workerTrouble,
      (error: unknown) => {
        const { reachable, message } = this.#context.engine.health();
        return reachable ? `Temporal does not do what it is asked: ${(error as Error).message}` : message;
      },
    );
    if (reason === undefined) this.#trouble = undefined;
    else this.#trouble = { reason, sinceMs: this.#trouble?.sinceMs ?? performance.now() };
    return {
      open: this.#open,
      ...(this.#trouble === undefined ? {} : { trouble: this.#trouble.reason }),
      troubleMs: this.#trouble === undefined ? 0 : performance.now() - this.#trouble.sinceMs,
    };
  }

  /** Asks for a worker again and again, as long as there is something for one to do. Never rejects. */
  async keepAskingWorkers(
    connection: Connection,
    namespace: string,
    isNeeded: () => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const input = { cluster: this.#context.cluster, timing: timingFor(1, false) };
    while (!signal.aborted) {
      if (isNeeded()) {
        this.#workerTrouble = await askWorker(connection, namespace, input, WORKER_MS).then(
          () => undefined,
          (error: unknown) => (error as Error).message,
        );
      }
      await pause(this.#workerTrouble === undefined ? WORKER_MS : 1_000, signal);
    }
  }

  async #lookAndCancel(): Promise<void> {
    const { engine, log } = this.#context;
    const open: string[] = [];
    for (const id of new Set([...this.#known(), ...(await engine.openRollouts())])) {
      const described = await engine.describe(id);
      if (described.state !== 'Open') continue;
      open.push(id);
      const key = `${id} ${keyOf(described.memo)}`;
      if (this.#cancelled.has(key)) continue;
      await engine.cancel(id, WHY);
      this.#cancelled.add(key);
      log.info({ rollout: id }, 'cancelled');
    }
    this.#open = open;
  }

  /** A list lags: what may be open is also known from the resources. */
  #known(): string[] {
    const { cluster, upgrades, kairosNodes } = this.#context;
    const asked = [...upgrades.values()].map(({ metadata }) =>
      rolloutId(cluster.id, metadata.namespace ?? '', metadata.name),
    );
    const byNode = [...kairosNodes.values()].flatMap((node) => {
      const drift = handMadeDrift(node);
      const inHand = node.status.inHand?.rollout;
      const ours = inHand?.startsWith(`rollout/${cluster.id}/`) === true ? [inHand] : [];
      return drift === undefined ? ours : [...ours, driftRolloutId(cluster.id, drift)];
    });
    return [...asked, ...byNode];
  }
}

/** Which start of a rollout this is: the same id may be started again. */
const keyOf = (memo: RolloutMemo | undefined) =>
  memo === undefined ? '' : `${memo.uid}/${memo.generation}/${memo.attempt}`;
