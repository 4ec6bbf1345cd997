import { type Access, mayI, whoAmI } from '../kube/access-review.ts';
import type { KubeClient } from '../kube/client.ts';

/** What a program must be allowed to do, for one resource. */
export interface Right {
  /** '' is the core group. */
  readonly group: string;
  /** `pods`, or with its subresource `pods/eviction`. */
  readonly resource: string;
  readonly verbs: readonly string[];
  /** Only the object of this name. */
  readonly name?: string;
  /** In the whole cluster, in the operator's own namespace, or in each in which NodeOpUpgrades are carried out. */
  readonly where: 'cluster' | 'own' | 'each';
}

/** Rights that are missing. Asked for again: they may be given at any time. */
class RightsError extends Error {
  override readonly name = 'RightsError';
}

/**
 * What the account in use may not do of this, one text for each resource: `list, watch nodes in the cluster`.
 * `namespaces` begins with the operator's own; `where: 'each'` stands for all of them.
 */
export async function missingRights(
  client: KubeClient,
  rights: readonly Right[],
  namespaces: readonly string[],
): Promise<string[]> {
  const asked = rights.flatMap((right) => accessesOf(right, namespaces));
  const answers = await Promise.all(asked.map(async (access) => ({ access, allowed: await mayI(client, access) })));
  const missing = Map.groupBy(
    answers.filter(({ allowed }) => !allowed).map(({ access }) => access),
    placeOf,
  );
  return [...missing].map(([place, accesses]) => `${accesses.map(({ verb }) => verb).join(', ')} ${place}`);
}

/**
 * Sees to it that the account in use has the rights in the cluster and in the operator's own namespace. Without them no
 * step is begun: an API server that refuses a step is a verdict on the node, where in truth the manifests are older than
 * the program.
 * @throws RightsError that names the account, each missing right and the file to apply
 */
export async function requireRights(
  client: KubeClient,
  rights: readonly Right[],
  own: string,
  manifest: string,
): Promise<void> {
  const missing = await missingRights(client, rights, [own]);
  if (missing.length === 0) return;
  throw new RightsError(
    `${await whoAmI(client)} may not ${missing.join('; ')}: apply ${manifest}, of the version that this program has`,
  );
}

/**
 * The further namespaces in which the account has its rights, and a sentence for each in which it has not. Those are left
 * out: a namespace that somebody deleted must not stop the upgrades of all others.
 */
export async function enabledNamespaces(
  client: KubeClient,
  rights: readonly Right[],
  namespaces: readonly string[],
  manifest: string,
): Promise<{ enabled: string[]; leftOut: string[] }> {
  const inEach = rights.filter(({ where }) => where === 'each');
  const found = await Promise.all(
    namespaces.map(async (namespace) => ({ namespace, missing: await missingRights(client, inEach, [namespace]) })),
  );
  const lacking = found.filter(({ missing }) => missing.length > 0);
  const account = lacking.length === 0 ? '' : await whoAmI(client);
  return {
    enabled: found.filter(({ missing }) => missing.length === 0).map(({ namespace }) => namespace),
    leftOut: lacking.map(
      ({ namespace, missing }) =>
        `NodeOpUpgrades in the namespace ${namespace} are not carried out: ${account} may not ${missing.join('; ')}: apply the Role and RoleBinding of ${manifest} there, or take it out of KAIROS_NAMESPACES`,
    ),
  };
}

function accessesOf({ group, resource, verbs, name, where }: Right, namespaces: readonly string[]): Access[] {
  const places = where === 'cluster' ? [undefined] : where === 'own' ? namespaces.slice(0, 1) : namespaces;
  return places.flatMap((namespace) =>
    verbs.map((verb) => ({
      verb,
      group,
      resource,
      ...(name === undefined ? {} : { name }),
      ...(namespace === undefined ? {} : { namespace }),
    })),
  );
}

function placeOf({ group, resource, name, namespace }: Access): string {
  const what = `${resource}${group === '' ? '' : `.${group}`}${name === undefined ? '' : ` "${name}"`}`;
  return `${what} in ${namespace === undefined ? 'the cluster' : `the namespace ${namespace}`}`;
}
