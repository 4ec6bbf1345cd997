/** A Kubernetes object as the API server sent it: plain JSON, dates are strings. */
export interface RawObject {
  apiVersion?: string;
  kind?: string;
  metadata: RawMetadata;
  spec?: unknown;
  status?: unknown;
}

export interface RawMetadata {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean }[];
  managedFields?: { manager?: string; operation?: string; subresource?: string; time?: string; fieldsV1?: unknown }[];
}

/** An object that is about to be created: JSON that has a name. */
export interface NewObject {
  apiVersion?: string;
  kind?: string;
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: unknown;
}

/**
 * Whether the change with resourceVersion `a` came before the one with `b`. They are decimal numbers that grow over all
 * objects of a cluster, and do not always fit into a `number`.
 */
export function isOlder(a: string, b: string): boolean {
  return a.length === b.length ? a < b : a.length < b.length;
}

/** How objects are called among their like: `name`, or `namespace/name`. */
export function objectKey(object: { metadata: { name: string; namespace?: string } }): string {
  const { name, namespace } = object.metadata;
  return namespace === undefined ? name : `${namespace}/${name}`;
}
