import type { DrainSpec } from '../api/rollout-spec.ts';
import type { KubeClient } from '../kube/client.ts';
import { type Eviction, type PodView, evictPod } from '../kube/pods.ts';
import { type BudgetView, readBudget } from '../kube/budgets.ts';
import type { Reflector } from '../kube/reflector.ts';
import { heldByBudget } from '../policy/drain-blockers.ts';
import type { LeftPod } from '../policy/drain-ladder.ts';
import { hasEnded, mayComplete, waitedForUntilMs } from '../policy/drain.ts';
import type { BlockerList } from './drain-blockers.ts';
import type { DrainVolumes } from './drain-volumes.ts';
import { beforeDeadline, pause } from './waiting.ts';

/** The API server will never evict this pod; the message says what does. */
export class EvictionRefused extends Error {
  override readonly name = 'EvictionRefused';
}

const REQUESTS_AT_ONCE = 20;
/** A budget is asked again by then at the latest, whatever the API server proposes. */
const LONGEST_RETRY_MS = 5_000;
/** How long after a pod should have been gone it is said that it is not. */
const OVERDUE_MS = 10_000;
/** How often the state of a budget that holds pods is read. */
const BUDGET_AGE_MS = 30_000;

export const keyOf = ({ namespace, name }: { namespace: string; name: string }) => `${namespace}/${name}`;

type Blocked = Extract<Eviction, { outcome: 'Blocked' }>;

/** Moves the pods of one node: evicts, waits, asks again, and says what holds each. */
export class PodMover {
  /** UIDs of pods that were deleted past their budgets: nobody needs to evict them. */
  readonly deleted = new Set<string>();
  readonly #client: KubeClient;
  readonly #pods: Reflector<PodView>;
  readonly #blockers: BlockerList;
  readonly #volumes: DrainVolumes;
  readonly #drain: DrainSpec & { startedAtMs: number };
  readonly #budgets = new Map<string, { readAtMs: number; state: Promise<BudgetView | undefined> }>();
  readonly #queue: (() => void)[] = [];
  #requests = 0;

  constructor(
    client: KubeClient,
    pods: Reflector<PodView>,
    blockers: BlockerList,
    volumes: DrainVolumes,
    drain: DrainSpec & { startedAtMs: number },
  ) {
    this.#client = client;
    this.#pods = pods;
    this.#blockers = blockers;
    this.#volumes = volumes;
    this.#drain = drain;
  }

  /**
   * Resolves when all of these are gone by UID, have ended, or are not waited for any longer. A pod that a budget holds
   * keeps no other one back. Rejects with the signal's reason, when nothing of it runs any more.
   * @throws EvictionRefused where waiting does not help
   */
  async move(pods: readonly PodView[], signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const moves = pods.map((pod) => this.#moveOne(pod, either));
    try {
      await Promise.all(moves);
    } finally {
      failed.abort(new Error('another pod cannot be moved'));
      await Promise.allSettled(moves);
    }
  }

  /**
   * Asks once more for the eviction of each, and answers what is left: what the API server refuses, and what is on its
   * way out. @throws EvictionRefused where waiting does not help
   */
  async ask(pods: readonly PodView[]): Promise<(LeftPod & { uid: string })[]> {
    const left = await Promise.all(
      pods.map(async (pod): Promise<(LeftPod & { uid: string }) | undefined> => {
        const { namespace, name, uid, ready } = pod;
        const is = (state: LeftPod['state'], budgets: readonly string[] = []) => ({
          namespace,
          name,
          uid,
          ready,
          state,
          budgets,
        });
        if (pod.deleting || this.deleted.has(uid)) return is('Terminating');
        const answer = await this.#evict(pod);
        if (answer.outcome === 'Gone') return undefined;
        return answer.outcome === 'Evicted' ? is('Terminating') : is('Held', answer.budgets);
      }),
    );
    return left.filter((pod) => pod !== undefined);
  }

  async #moveOne(pod: PodView, signal: AbortSignal): Promise<void> {
    const key = keyOf(pod);
    try {
      await this.#untilCompleted(pod, signal);
      for (;;) {
        const now = this.#now(pod);
        if (now === undefined) return;
        if (now.deleting || this.deleted.has(pod.uid)) break;
        const answer = await this.#evict(pod);
        if (answer.outcome === 'Gone') return;
        if (answer.outcome === 'Evicted') break;
        await pause(Math.min(answer.retryAfterMs, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2), signal);
      }
      this.#blockers.delete(key);
      await this.#untilGone(pod, signal);
    } finally {
      // What still is there at the deadline stays in the list, which says why the drain did not end.
      if (this.#now(pod) === undefined) this.#blockers.delete(key);
    }
  }

  /** The pod as the watch shows it; undefined: it is gone, another one has its name, or it has ended. */
  #now({ namespace, name, uid }: PodView): PodView | undefined {
    const now = this.#pods.get(keyOf({ namespace, name }));
    return now?.uid !== uid || hasEnded(now) ? undefined : now;
  }

  /** Waits for a pod that ends by itself, as long as the strategy lets it. */
  async #untilCompleted(pod: PodView, signal: AbortSignal): Promise<void> {
    const { completion, startedAtMs } = this.#drain;
    if (completion === undefined || !mayComplete(pod, this.#drain)) return;
    const untilMs = startedAtMs + completion.timeoutMs;
    if (Date.now() >= untilMs || this.#now(pod)?.deleting !== false) return;
    this.#blockers.set(keyOf(pod), {
      reason: 'Completing',
      message: `given time to end by itself until ${new Date(untilMs).toISOString()} (strategy.drain.waitForCompletion)`,
    });
    await beforeDeadline(untilMs, signal, (within) =>
      this.#pods.waitFor(keyOf(pod), () => (this.#now(pod)?.deleting === false ? undefined : true), within),
    );
  }

  async #untilGone(pod: PodView, signal: AbortSignal): Promise<void> {
    const key = keyOf(pod);
    const isGone = () => (this.#now(pod) === undefined ? true : undefined);
    const wait = (untilMs: number) =>
      beforeDeadline(untilMs, signal, (within) => this.#pods.waitFor(key, isGone, within));
    // When it is due is known once the watch has delivered its deletion.
    const deleting = await this.#pods.waitFor<PodView | 'gone'>(
      key,
      () => {
        const now = this.#now(pod);
        return now === undefined ? 'gone' : now.deleting ? now : undefined;
      },
      signal,
    );
    if (deleting === 'gone') return;
    const givenUpMs = waitedForUntilMs(deleting, this.#drain);
    const overdueMs = Date.parse(deleting.deletionTimestamp ?? '') + OVERDUE_MS;
    if ((await wait(Math.min(givenUpMs, overdueMs))) === true || givenUpMs <= overdueMs) return;
    this.#blockers.set(key, {
      reason: 'Terminating',
      message: `still there, though it should have been gone at ${deleting.deletionTimestamp ?? '?'}: a finalizer or its kubelet keeps it (kubectl get pod -n ${pod.namespace} ${pod.name} -o yaml)`,
    });
    await wait(givenUpMs);
  }

  /** One request; what it says of the pod is listed. */
  async #evict(pod: PodView): Promise<Exclude<Eviction, { outcome: 'Refused' }>> {
    await this.#volumes.add(pod);
    const { gracePeriodSeconds, onTimeout } = this.#drain;
    const options = gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds };
    const answer = await this.#oneOfFew(() => evictPod(this.#client, pod, options));
    if (answer.outcome === 'Blocked') await this.#listBlocked(pod, answer);
    if (answer.outcome !== 'Refused') return answer;
    const deletesLater = onTimeout === 'Delete' || onTimeout === 'DeleteUnhealthy';
    if (answer.severalBudgets !== true || !deletesLater) throw new EvictionRefused(answer.message);
    const message =
      'held by more than one PodDisruptionBudget, which the eviction API cannot serve; leave one that selects it';
    this.#blockers.set(keyOf(pod), { reason: 'SeveralBudgets', message });
    return { outcome: 'Blocked', message, retryAfterMs: LONGEST_RETRY_MS, budgets: [] };
  }

  async #listBlocked(pod: PodView, answer: Blocked): Promise<void> {
    const [budget] = answer.budgets;
    const key = keyOf(pod);
    if (answer.namespaceTerminating === true) {
      const message = 'in a namespace that is being deleted, and goes with it';
      this.#blockers.set(key, { reason: 'NamespaceTerminating', message });
    } else if (budget === undefined) {
      this.#blockers.set(key, { reason: 'Budget', message: `held: ${answer.message}` });
    } else {
      this.#blockers.set(key, heldByBudget(pod, budget, await this.#budget(pod.namespace, budget)));
    }
  }

  #budget(namespace: string, name: string): Promise<BudgetView | undefined> {
    const key = `${namespace}/${name}`;
    const known = this.#budgets.get(key);
    if (known !== undefined && Date.now() - known.readAtMs < BUDGET_AGE_MS) return known.state;
    // What the budget says is told, not decided upon: without it the blocker says less.
    const state = readBudget(this.#client, namespace, name).catch(() => undefined);
    this.#budgets.set(key, { readAtMs: Date.now(), state });
    return state;
  }

  /** Waits for its turn: so many requests at once, however many pods there are. */
  async #oneOfFew<T>(request: () => Promise<T>): Promise<T> {
    if (this.#requests >= REQUESTS_AT_ONCE) await new Promise<void>((resolve) => this.#queue.push(resolve));
    else this.#requests += 1;
    try {
      return await request();
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#requests -= 1;
      else next();
    }
  }
}
