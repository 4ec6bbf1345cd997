import { createHash } from 'node:crypto';

/** The first `length` hex digits of the SHA-256 of the parts; ['ab', 'c'] and ['a', 'bc'] differ. */
function hash(parts: string[], length = 16): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, length);
}

/**
 * A name of an object for one node, at most 63 characters: `<prefix>-<node cut to 20>-<16 hex>`. The hash is made of the
 * full node name and all of `hashed`, so that a repeated call with the same parts finds the same object.
 * The prefix has at most 25 characters.
 */
export function objectName(prefix: string, node: string, ...hashed: string[]): string {
  if (prefix.length > 25) throw new RangeError(`object name prefix ${prefix}: longer than 25 characters; shorten it`);
  const readable = node
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-')
    .slice(0, 20)
    .replaceAll(/^-+|-+$/g, '');
  return [prefix, ...(readable === '' ? [] : [readable]), hash([node, ...hashed])].join('-');
}

/** A label value, cut and hashed where it is longer than the 63 characters that Kubernetes allows. */
export function labelValue(value: string): string {
  return value.length <= 63 ? value : `${value.slice(0, 46).replace(/[^A-Za-z0-9]+$/, '')}-${hash([value])}`;
}

/** Workflow id of the rollout of a NodeOpUpgrade. */
export function rolloutId(clusterId: string, namespace: string, name: string): string {
  const short = name.length <= 120 ? name : `${name.slice(0, 103)}-${hash([name])}`;
  return `rollout/${clusterId}/${namespace}/${short}`;
}

/** Workflow id of the rollout of hand-edited KairosNodes: one per image. No namespace can be called `_drift`. */
export function driftRolloutId(clusterId: string, image: string): string {
  return `rollout/${clusterId}/_drift/${hash([image])}`;
}
