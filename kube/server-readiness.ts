import { mayGet, whoAmI } from './access-review.ts';
import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';

/** Shorter than other calls: an API server that takes longer to say that it is ready, is not. */
const DEADLINE_MS = 4_000;
const READINESS = '/readyz';
/** What every account that works with this cluster may read; it comes from the database of the API server. */
const READ_INSTEAD = '/api/v1/namespaces/kube-system';

/** `trouble`: why it is not ready. `unasked`: that it does not say so to this account, and what was looked at instead. */
interface ServerReadiness {
  trouble?: string;
  unasked?: string;
}

/**
 * Whether the API server that answers is ready to serve. By its `/readyz`, of which its etcd is a part. Where that is
 * refused (403), or something between us and it does not let it through (404), by a read that its database must answer.
 * Behind an address of several API servers it is one of them that answers. Rejects with the signal's reason.
 */
export async function readServerReadiness(client: KubeClient, signal: AbortSignal): Promise<ServerReadiness> {
  const get = (path: string) => client.request({ verb: 'get', path, plain: true, deadlineMs: DEADLINE_MS, signal });
  try {
    try {
      await get(READINESS);
      return {};
    } catch (error) {
      if (!isReason(error, 'Forbidden', 'NotFound', 'NotServed')) throw error;
    }
    await get(READ_INSTEAD);
    return { unasked: unaskedText(await whoAmI(client)) };
  } catch (error) {
    signal.throwIfAborted();
    return { trouble: (error as Error).message.slice(0, 500) };
  }
}

/** That the account in use may not ask the API server whether it is ready, and what to do; undefined where it may. */
export const readinessRefused = async (client: KubeClient): Promise<string | undefined> =>
  (await mayGet(client, READINESS)) ? undefined : unaskedText(await whoAmI(client));

const unaskedText = (account: string) =>
  `${account} may not get ${READINESS}, so whether the API server is ready is told by a read that its database answers: apply deploy/operator/worker-rbac.yaml, or upgrade the chart, for the right to ask`;
