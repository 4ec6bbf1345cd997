import type { KubeClient } from '../kube/client.ts';
import { explainApiServer, reachApiServer } from './api-server.ts';
import type { Program } from './program.ts';
import { requireResources } from './resources.ts';
import { requireLeaseRights, type Needs } from './needs.ts';
import { enabledNamespaces, missingRights, requireRights } from './rights.ts';
import { keepChecking, waitFor } from './surroundings.ts';

const CHECK_EVERY_MS = 60_000;

/**
 * Waits until the API server answers, until the custom resource definitions are there and new enough, and until the account has its rights; answers the
 * namespaces that can be served. It waits rather than ends: a Deployment whose new pods do not become ready keeps its
 * old ones, and what is in Temporal keeps. Once running, a lost right is told but ends nothing: a node may be in hand.
 * A further namespace that gets its rights later ends the process by `onNewNamespace`, to be started anew with it.
 */
export async function waitForAccess(
  client: KubeClient,
  { rights, manifest, nodeLeases }: Needs,
  program: Program,
  onNewNamespace: (reason: string) => void,
): Promise<string[]> {
  const { settings, log } = program;
  const [own = settings.namespace, ...further] = settings.namespaces;
  await reachApiServer(client, program);
  const [remark] = await Promise.all([
    waitFor('custom resource definitions', () => requireResources(client), explainApiServer, program),
    waitFor('rights', () => requireRights(client, rights, own, manifest), explainApiServer, program),
  ]);
  if (nodeLeases !== undefined)
    await waitFor('rights on node leases', () => requireLeaseRights(client, nodeLeases), explainApiServer, program);
  if (remark !== undefined) log.warn({ reason: remark }, 'going on without that check');
  const look = () => enabledNamespaces(client, rights, further, manifest);
  const first = await waitFor('rights', look, explainApiServer, program);
  for (const reason of first.leftOut) log.warn({ reason }, 'namespace left out');

  const check = (part: string, ask: () => Promise<string | undefined>, essential: boolean) =>
    void keepChecking({ part, ask, essential, everyMs: CHECK_EVERY_MS }, program);
  const lostRights = async () => {
    const missing = await missingRights(client, rights, [own]).catch(() => []);
    return missing.length === 0 ? undefined : `not allowed any more: ${missing.join('; ')}; apply ${manifest}`;
  };
  const lostLeaseRights = async ({ namespace, rights, manifest }: NonNullable<Needs['nodeLeases']>) => {
    const missing = await missingRights(client, rights, [namespace]).catch(() => []);
    return missing.length === 0 ? undefined : `not allowed any more: ${missing.join('; ')}; apply ${manifest}`;
  };
  check('rights', lostRights, true);
  if (nodeLeases !== undefined) check('rights on node leases', () => lostLeaseRights(nodeLeases), true);
  if (further.length > 0) {
    const namespacesNow = async () => {
      const { enabled, leftOut } = await look().catch(() => first);
      const added = enabled.filter((namespace) => !first.enabled.includes(namespace));
      if (added.length > 0) onNewNamespace(`${added.join(', ')} can be served now`);
      return leftOut.length === 0 ? undefined : leftOut.join('; ');
    };
    check('namespaces', namespacesNow, false);
  }
  return [own, ...first.enabled];
}
