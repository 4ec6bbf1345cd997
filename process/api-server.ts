import type { ClusterRef } from '../api/messages.ts';
import { connectToCluster, type KubeClient } from '../kube/client.ts';
import { KubeError } from '../kube/errors.ts';
import { readClusterIdentity } from '../kube/identity.ts';
import { apiServerAddress } from '../kube/server-address.ts';
import type { ApiContact } from './api-contact.ts';
import { keepChecking, waitFor, type Watchdogs } from './surroundings.ts';

const CHECK_EVERY_MS = 10_000;
/** How often it is asked which cluster it is of, where other answers show that it is there. */
const IDENTITY_EVERY_MS = 60_000;
const PART = 'API server';

/**
 * A client for the cluster that the environment names.
 * @throws Error that names the file, when its kubeconfig cannot be used
 */
export function openCluster(): KubeClient {
  try {
    return connectToCluster();
  } catch (error) {
    const file = process.env['KUBECONFIG'];
    const { message } = error as Error;
    if (!file || message.startsWith('kubeconfig')) throw error;
    throw new Error(`KUBECONFIG=${file} cannot be used: ${message}`, { cause: error });
  }
}

/** Waits until the API server answers and knows the account in use. Rejects only with the signal's reason. */
export async function reachApiServer(client: KubeClient, watchdogs: Watchdogs): Promise<void> {
  await waitFor(PART, () => client.request({ verb: 'get', path: '/version' }), explainApiServer, watchdogs);
}

/**
 * Reads which cluster this is, and goes on watching that its API server answers. Rejects only with the signal's reason.
 */
export async function identifyCluster(
  client: KubeClient,
  displayName: string,
  watchdogs: Watchdogs & { contact: ApiContact },
): Promise<ClusterRef> {
  const ask = () => readClusterIdentity(client, displayName);
  const cluster = await waitFor(PART, ask, explainApiServer, watchdogs);
  let wasSame = true;
  const isSame = async () => {
    const now = await ask();
    if (now.uid === cluster.uid) return undefined;
    return `another cluster answers (${now.id}) than at the start (${cluster.id}): start this process anew`;
  };
  let askedAtMs = performance.now();
  const check = async () => {
    const isDue = performance.now() - askedAtMs >= IDENTITY_EVERY_MS;
    if (wasSame && !isDue && watchdogs.contact.isFresh(CHECK_EVERY_MS)) return undefined;
    askedAtMs = performance.now();
    const wrong = await isSame().catch(explainApiServer);
    wasSame = wrong === undefined;
    return wrong;
  };
  void keepChecking({ part: PART, everyMs: CHECK_EVERY_MS, ask: check }, watchdogs);
  return cluster;
}

const UNTRUSTED = /CERT|SIGNATURE|ISSUER|SELF_SIGNED|ALTNAME/;

/** Why the API server does not do what is asked, with its address and the next step. */
export function explainApiServer(error: unknown): string {
  if (!(error instanceof KubeError)) return (error as Error).message;
  const at = `the API server ${apiServerAddress()}`;
  const { code, path: file } = (error.cause ?? {}) as NodeJS.ErrnoException;
  if (error.reason === 'Unauthorized')
    return `${at} does not know us (401): the token or client certificate has expired or belongs to another cluster; renew it in the kubeconfig, or see that the pod's token is mounted and renewed`;
  if (error.reason === 'Timeout')
    return `${at} accepts connections but does not answer: it may be starting or overloaded, or something between drops packets`;
  if (error.reason !== 'Unreachable') return `${at}: ${error.message}`;
  if (code === 'ENOENT' || code === 'EACCES')
    return `the credentials for ${at} cannot be read (${code}: ${file ?? error.message}): correct the path in the kubeconfig`;
  if (code === 'ERR_INVALID_URL')
    return `the kubeconfig names the server ${apiServerAddress()}, which is no address: write it as https://host:6443`;
  if (UNTRUSTED.test(code ?? ''))
    return `${at} shows a certificate that is not trusted (${code}: ${(error.cause as Error).message}): correct certificate-authority in the kubeconfig, or the server's name`;
  if (code === 'EPROTO')
    return `${at} does not speak TLS on that port, or not the one we speak (${(error.cause as Error).message.trim()}): correct the server in the kubeconfig`;
  const network = code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? 'its name cannot be resolved' : 'nobody answers there';
  return `${at} cannot be reached (${code ?? error.message}): ${network}; check that it runs, and the server in the kubeconfig, or KUBERNETES_SERVICE_HOST in a pod`;
}
