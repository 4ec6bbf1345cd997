import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';

interface Schema {
  properties?: Record<string, Schema>;
  enum?: unknown[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[];
}

/**
 * The fields that the API server keeps of a kind, as paths such as `status.conditions[].type`; undefined where it serves
 * no such kind. Read from its OpenAPI document, which every account may read: a CRD itself only some may.
 */
export async function servedFields(
  client: KubeClient,
  of: { group: string; version: string; kind: string },
): Promise<Set<string> | undefined> {
  let document: { components?: { schemas?: Record<string, Schema> } };
  try {
    document = await client.request({ verb: 'get', path: `/openapi/v3/apis/${of.group}/${of.version}` });
  } catch (error) {
    if (isReason(error, 'NotFound', 'NotServed')) return undefined;
    throw error;
  }
  const schema = Object.values(document.components?.schemas ?? {}).find((candidate) =>
    candidate['x-kubernetes-group-version-kind']?.some(
      ({ group, version, kind }) => group === of.group && version === of.version && kind === of.kind,
    ),
  );
  return schema === undefined ? undefined : new Set(fieldsOf(schema));
}

/** The paths of all fields of a schema, parents before children; one more for each word that a field may hold: `status.step=Drain`. */
export function fieldsOf({ properties, items, additionalProperties, enum: words }: Schema, path = ''): string[] {
  const named = Object.entries(properties ?? {}).flatMap(([name, property]) => {
    const own = path === '' ? name : `${path}.${name}`;
    return [own, ...fieldsOf(property, own)];
  });
  const inList = items === undefined ? [] : fieldsOf(items, `${path}[]`);
  const inMap = typeof additionalProperties === 'object' ? fieldsOf(additionalProperties, `${path}[*]`) : [];
  const inEnum = (words ?? []).filter((word) => typeof word === 'string').map((word) => `${path}=${word}`);
  return [...inEnum, ...named, ...inList, ...inMap];
}
