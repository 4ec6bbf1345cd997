import type { KubeClient } from './client.ts';
import { uidAt } from './create.ts';
import { KubeError } from './errors.ts';

/** What became of the request to evict a pod. */
export type Eviction =
  | { outcome: 'Evicted' }
  /** The pod is not there any more, or another one has its name. */
  | { outcome: 'Gone' }
  /** Not now: a disruption budget, or a namespace that is being deleted. Ask again after `retryAfterMs`. */
  | { outcome: 'Blocked'; message: string; retryAfterMs: number; budgets: string[]; namespaceTerminating?: true }
  /** Waiting does not help; the message says what does. */
  | { outcome: 'Refused'; message: string; severalBudgets?: true };

const RETRY_MS = 5_000;

/**
 * Asks the API server to evict a pod: it honours disruption budgets, and deletes the pod with its grace period.
 * Rejects with a retryable KubeError when the API server did not decide (unreachable, overloaded).
 *
 * An eviction with the UID of a former pod, while the present one of that name is Pending, is tried for 10 s by the API
 * server itself (it takes the Conflict for one that passes): where no answer came, the pod is looked at instead.
 */
export async function evictPod(
  client: KubeClient,
  pod: { namespace: string; name: string; uid: string },
  options: { gracePeriodSeconds?: number; dryRun?: ['All'] } = {},
): Promise<Eviction> {
  const { namespace, name, uid } = pod;
  const podPath = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
  const body = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { namespace, name },
    deleteOptions: { ...options, preconditions: { uid } },
  };
  try {
    await client.request({ verb: 'create', path: `${podPath}/eviction`, body });
    return { outcome: 'Evicted' };
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    const answer = evictionOf(error, `${namespace}/${name}`);
    if (answer !== undefined) return answer;
    const wentMeanwhile = error.reason === 'Timeout' && (await uidAt(client, podPath)) !== uid;
    if (wentMeanwhile) return { outcome: 'Gone' };
    throw error;
  }
}

/**
 * What the API server would answer to the eviction of a pod, budgets and admission included: it carries nothing out.
 * `Evicted` means that the pod could go now.
 */
export const tryEviction = (client: KubeClient, pod: { namespace: string; name: string; uid: string }) =>
  evictPod(client, pod, { dryRun: ['All'] });

function evictionOf(error: KubeError, pod: string): Eviction | undefined {
  const said = messageOf(error);
  switch (error.code) {
    case 404:
      return error.reason === 'NotFound' ? { outcome: 'Gone' } : undefined;
    case 409:
      // Conflicts on the budget's own bookkeeping are worth another try; a different UID is another pod.
      return /\buid\b/i.test(said) ? { outcome: 'Gone' } : blocked(error, `pod ${pod}: ${said}`, []);
    case 429:
      return byBudget(error, pod);
    case 403:
      return inDyingNamespace(error, pod, said);
    case 500:
      return /more than one PodDisruptionBudget/i.test(said)
        ? {
            outcome: 'Refused',
            severalBudgets: true,
            message: `pod ${pod} is held by more than one PodDisruptionBudget, which the eviction API cannot serve; leave one that selects it`,
          }
        : undefined;
    case undefined:
    default:
      return error.retryable ? undefined : { outcome: 'Refused', message: `pod ${pod} cannot be evicted: ${said}` };
  }
}

/** 429 is said both by disruption budgets and by an overloaded API server, which names no budget. */
function byBudget(error: KubeError, pod: string): Eviction | undefined {
  const causes = error.causes.filter(({ reason }) => reason === 'DisruptionBudget');
  if (causes.length === 0 && !/disruption budget/i.test(messageOf(error))) return undefined;
  const budgets = causes.flatMap(({ message }) => /disruption budget (\S+)/i.exec(message)?.[1] ?? []);
  const why = causes.map(({ message }) => message).join('; ') || messageOf(error);
  const name = budgets.length === 0 ? 'a PodDisruptionBudget' : `PodDisruptionBudget ${budgets.join(', ')}`;
  return blocked(error, `pod ${pod} is held by ${name}: ${why}`, budgets);
}

function inDyingNamespace(error: KubeError, pod: string, said: string): Eviction {
  const dying = error.causes.some(({ reason }) => reason === 'NamespaceTerminating');
  if (dying)
    return {
      ...blocked(error, `pod ${pod}: its namespace is being deleted, and the pod with it`, []),
      namespaceTerminating: true,
    };
  return { outcome: 'Refused', message: `pod ${pod} may not be evicted: ${said}; check RBAC and admission policies` };
}

function blocked(error: KubeError, message: string, budgets: string[]): Extract<Eviction, { outcome: 'Blocked' }> {
  return { outcome: 'Blocked', message, retryAfterMs: error.retryAfterMs || RETRY_MS, budgets };
}

function messageOf(error: KubeError): string {
  const { message } = (error.body ?? {}) as { message?: unknown };
  return typeof message === 'string' ? message : error.message;
}
