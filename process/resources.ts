import { z } from 'zod';
import { API_VERSION, KAIROS_GROUP, OPERATOR_GROUP } from '../api/names.ts';
import { kairosNode } from '../api/schemas/kairos-node.ts';
import { nodeOpUpgrade } from '../api/schemas/node-op-upgrade.ts';
import type { KubeClient } from '../kube/client.ts';
import { isReason } from '../kube/errors.ts';
import { fieldsOf, servedFields } from '../kube/served-fields.ts';

const APPLY = 'kubectl apply --server-side -f deploy/crds, of the version that this program has';

const RESOURCES = [
  { group: KAIROS_GROUP, kind: 'KairosNode', plural: 'kairosnodes', schema: kairosNode },
  { group: OPERATOR_GROUP, kind: 'NodeOpUpgrade', plural: 'nodeopupgrades', schema: nodeOpUpgrade },
] as const;

/** Custom resource definitions that are missing or too old. Asked for again: they may be applied at any time. */
class ResourcesError extends Error {
  override readonly name = 'ResourcesError';
}

/**
 * Sees to it that the API server keeps every field and word that this program writes: what a definition does not know is
 * dropped in silence, and a word that it does not know is refused in the middle of an upgrade. A newer definition is fine.
 * Answers a remark where the account may not look, which is no reason to stop.
 * @throws ResourcesError that names the definition and the command
 */
export async function requireResources(client: KubeClient): Promise<string | undefined> {
  try {
    const wrong: string[] = [];
    for (const { group, kind, plural, schema } of RESOURCES) {
      const served = await servedFields(client, { group, version: API_VERSION, kind });
      const wanted = fieldsOf(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input' }) as object);
      const text = problemOf(`${plural}.${group}`, wanted, served);
      if (text !== undefined) wrong.push(text);
    }
    if (wrong.length > 0) throw new ResourcesError(`${wrong.join('; ')}: ${APPLY}`);
    return undefined;
  } catch (error) {
    if (!isReason(error, 'Forbidden', 'Unauthorized')) throw error;
    return `whether the custom resource definitions are as new as this program is not known: ${(error as Error).message}`;
  }
}

function problemOf(
  name: string,
  wanted: readonly string[],
  served: ReadonlySet<string> | undefined,
): string | undefined {
  if (served === undefined) return `the CustomResourceDefinition ${name} is not installed`;
  // A missing field is named without what lies below it.
  const missing = wanted.filter((field) => !served.has(field));
  const roots = missing.filter((field) => !missing.some((other) => isBelow(field, other)));
  if (roots.length === 0) return undefined;
  const shown = roots.slice(0, 5).join(', ') + (roots.length > 5 ? ` and ${roots.length - 5} more` : '');
  return `the CustomResourceDefinition ${name} is older than this program: it lacks ${shown}`;
}

const isBelow = (field: string, other: string) =>
  field !== other && /^[.[=]/.test(field.slice(other.length)) && field.startsWith(other);
