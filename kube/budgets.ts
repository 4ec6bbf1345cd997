import type { KubeClient } from './client.ts';
import { defined } from './defined.ts';
import { isReason } from './errors.ts';
import type { RawObject } from './raw-object.ts';

/** What a PodDisruptionBudget says of itself. */
export interface BudgetView {
  disruptionsAllowed: number;
  currentHealthy: number;
  desiredHealthy: number;
  /** How many pods it is about; absent where its controller has not said so. */
  expectedPods?: number;
  /** Absent: IfHealthyBudget, the default of Kubernetes. */
  unhealthyPodEvictionPolicy?: string;
}

/** The budget as the API server has it now; undefined when there is none, or its controller has not looked at it yet. */
export async function readBudget(client: KubeClient, namespace: string, name: string): Promise<BudgetView | undefined> {
  const path = `/apis/policy/v1/namespaces/${encodeURIComponent(namespace)}/poddisruptionbudgets/${encodeURIComponent(name)}`;
  try {
    const { spec, status } = await client.request<RawObject>({ verb: 'get', path });
    const { unhealthyPodEvictionPolicy } = (spec ?? {}) as { unhealthyPodEvictionPolicy?: string };
    const told = (status ?? {}) as Partial<BudgetView>;
    const { disruptionsAllowed, currentHealthy = 0, desiredHealthy = 0, expectedPods } = told;
    if (disruptionsAllowed === undefined) return undefined;
    return {
      disruptionsAllowed,
      currentHealthy,
      desiredHealthy,
      ...defined({ expectedPods, unhealthyPodEvictionPolicy }),
    };
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}
