import type { KubeClient } from '../kube/client.ts';
import { explainApiServer, reachApiServer } from './api-server.ts';
import type { Program } from './program.ts';
import { requireResources } from './resources.ts';
import { requireLeaseRights, type Needs } from './needs.ts';
import type { ApiContact } from './api-contact.ts';
import { enabledNamespaces, missingRights, requireRights, type Right } from './rights.ts';
import { keepChecking, waitFor } from './surroundings.ts';

const CHECK_EVERY_MS = 60_000;
/** How often all rights are asked for where no request was refused. */
const RIGHTS_EVERY_MS = 10 * 60_000;

/**
 * Waits until the API server answers, until the custom resource definitions are there and new enough, and until the account has its rights; answers the
 * namespaces that can be served. It waits rather than ends: a Deployment whose new pods do not become ready keeps its
 * old ones, and what is in Temporal keeps. Once running, a lost right is told but ends nothing: a node may be in hand.
 * A further namespace that gets its rights later ends the process by `onNewNamespace`, to be started anew with it.
 */
export async function waitForAccess(
  client: KubeClient,
  { rights, manifest, wants, nodeLeases }: Needs,
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
  const lacking = wants && (await waitFor('rights', () => wants(client), explainApiServer, program));
  if (lacking !== undefined) log.warn({ reason: lacking }, 'going on without that right');
  const look = () => enabledNamespaces(client, rights, further, manifest);
  const first = await waitFor('rights', look, explainApiServer, program);
  for (const reason of first.leftOut) log.warn({ reason }, 'namespace left out');

  const check = (part: string, ask: () => Promise<string | undefined>, essential: boolean) =>
    void keepChecking({ part, ask, essential, everyMs: CHECK_EVERY_MS }, program);
  const lostRights = (lookedAt: readonly Right[], namespace: string, file: string) =>
    askedWhenRefused(program.contact, async () => {
      const missing = await missingRights(client, lookedAt, [namespace]).catch(() => []);
      return missing.length === 0 ? undefined : `not allowed any more: ${missing.join('; ')}; apply ${file}`;
    });
  check('rights', lostRights(rights, own, manifest), true);
  if (nodeLeases !== undefined) {
    const { namespace, rights: onLeases, manifest: file } = nodeLeases;
    check('rights on node leases', lostRights(onLeases, namespace, file), true);
  }
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

/**
 * Asks what is wrong only where a request was refused since it was asked last, or something was wrong then, or a long
 * time has passed: the rights are many, each is a request, and they hardly ever change.
 */
export function askedWhenRefused(
  contact: ApiContact,
  ask: () => Promise<string | undefined>,
): () => Promise<string | undefined> {
  let askedAtMs = performance.now();
  let { refusals } = contact;
  let wrong: string | undefined;
  return async () => {
    const isDue = performance.now() - askedAtMs >= RIGHTS_EVERY_MS;
    if (wrong === undefined && contact.refusals === refusals && !isDue) return undefined;
    askedAtMs = performance.now();
    ({ refusals } = contact);
    wrong = await ask();
    return wrong;
  };
}
