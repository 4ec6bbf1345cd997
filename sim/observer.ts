import type { KubeClient } from '../kube/client.ts';
import { watchNodes, type NodeView } from '../kube/nodes.ts';
import { startReflector, type Reflector } from '../kube/reflector.ts';

/** One moment at which what was out changed. */
export interface OutageMoment {
  readonly atMs: number;
  readonly controlPlane: readonly string[];
  readonly workers: readonly string[];
}

export interface BudgetBreach {
  readonly budget: string;
  readonly healthy: number;
  readonly wanted: number;
}

interface Budget {
  name: string;
  healthy: number;
  wanted: number;
  expected: number;
}

/** Watches a cluster from outside, through the API server only, for what an upgrade must never do. */
export interface Observer {
  readonly moments: readonly OutageMoment[];
  readonly breaches: readonly BudgetBreach[];
  readonly nodes: Reflector<NodeView>;
  /** When the first pod of a step was seen, in ms of this process' clock. */
  readonly firstPodAtMs: number | undefined;
  /** Time from cordon to the creation of the upgrade pod, by node: what the drain cost. */
  readonly drainMs: ReadonlyMap<string, number>;
  synced(): Promise<void>;
  /** Resolves when every disruption budget has what it wants: only from then on can one be broken. */
  healthy(): Promise<void>;
  stop(): void;
}

// A bare mark disrupts nobody: rollouts mark first and count after, and may take a mark back.
const isOut = (node: NodeView) => node.unschedulable || !node.ready;

export function startObserver(client: KubeClient, stepLabel: string): Observer {
  const moments: OutageMoment[] = [];
  const breaches: BudgetBreach[] = [];
  const cordonedAt = new Map<string, number>();
  const drainMs = new Map<string, number>();
  let armed = false;
  let firstPodAtMs: number | undefined;
  const nodes = watchNodes(client);
  let changed = false;
  nodes.onChange((name, now, before) => {
    if (now?.unschedulable === true && before?.unschedulable !== true) cordonedAt.set(name, Date.now());
    if ((now !== undefined && isOut(now)) === (before !== undefined && isOut(before)) || changed) return;
    changed = true;
    queueMicrotask(lookWhoIsOut);
  });
  /**
   * Once all changes that came together are in. After the API server was away a list brings many at once, node by
   * node: halfway through it, one node that is out now and another that no longer is would seem to be out together.
   */
  function lookWhoIsOut(): void {
    changed = false;
    const out = [...nodes.values()].filter(isOut);
    moments.push({
      atMs: Date.now(),
      controlPlane: out.filter((node) => node.controlPlane).map((node) => node.name),
      workers: out.filter((node) => !node.controlPlane).map((node) => node.name),
    });
  }
  const budgets = startReflector<Budget>(client, {
    path: '/apis/policy/v1/poddisruptionbudgets',
    // Ours holds back evictions of a running upgrade, and is never satisfied.
    query: { labelSelector: 'app.kubernetes.io/part-of!=kairos-operator' },
    project: ({ metadata, status }) => {
      const { currentHealthy = 0, desiredHealthy = 0, expectedPods = 0 } = (status ?? {}) as Record<string, number>;
      return {
        name: `${metadata.namespace}/${metadata.name}`,
        healthy: currentHealthy,
        wanted: desiredHealthy,
        expected: expectedPods,
      };
    },
  });
  budgets.onChange((_key, budget) => {
    if (armed && budget !== undefined && budget.healthy < budget.wanted) {
      breaches.push({ budget: budget.name, healthy: budget.healthy, wanted: budget.wanted });
    }
  });
  const pods = startReflector<{ step: string; node: string }>(client, {
    path: '/api/v1/pods',
    query: { labelSelector: stepLabel },
    project: ({ metadata, spec }) => ({
      step: metadata.labels?.[stepLabel] ?? '',
      node: (spec as { nodeName: string }).nodeName,
    }),
  });
  pods.onChange((_key, pod, before) => {
    if (pod === undefined || before !== undefined) return;
    firstPodAtMs ??= Date.now();
    const since = cordonedAt.get(pod.node);
    if (pod.step === 'upgrade' && since !== undefined) drainMs.set(pod.node, Date.now() - since);
  });
  const satisfied = () =>
    budgets.size > 0 &&
    [...budgets.values()].every((budget) => budget.expected > 0 && budget.healthy === budget.expected);
  return {
    moments,
    breaches,
    nodes,
    drainMs,
    get firstPodAtMs() {
      return firstPodAtMs;
    },
    async synced() {
      await Promise.all([nodes.synced(), budgets.synced(), pods.synced()]);
    },
    async healthy() {
      await budgets.waitFor(undefined, () => (satisfied() ? true : undefined), AbortSignal.timeout(60_000));
      armed = true;
    },
    stop() {
      for (const reflector of [nodes, budgets, pods]) reflector.stop();
    },
  };
}
