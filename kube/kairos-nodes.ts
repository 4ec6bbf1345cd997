import { API_VERSION, KAIROS_GROUP, OPERATOR_FIELD_MANAGER, RETRY_ANNOTATION } from '../api/names.ts';
import type { KairosNodeOperatorStatus, KairosNodeSpec, KairosNodeStatus } from '../api/types.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './errors.ts';
import type { RawMetadata, RawObject } from './raw-object.ts';
import { type Reflector, type ReflectorLog, startReflector } from './reflector.ts';

export interface KairosNodeView {
  name: string;
  uid: string;
  generation: number;
  resourceVersion: string;
  spec: KairosNodeSpec;
  /**
   * The field managers that own spec.image or spec.version. `before-first-apply`, as the API server calls it, stands for
   * an unknown one: writes to an object of which no field was tracked yet leave no name.
   */
  specManagers: string[];
  status: KairosNodeStatus;
  /** UID of the Node that owns it; absent until the watcher has set it. */
  ownerUID?: string;
  /** The annotation that asks for another attempt. */
  retry?: string;
}

/** The operator's part of the status; `null` clears a field. Lists are replaced as a whole. */
export type KairosNodeStatusChange = { [K in keyof KairosNodeOperatorStatus]?: KairosNodeOperatorStatus[K] | null };

/** A merge patch keeps what it does not name: the optional fields of an earlier attempt. */
const NO_ATTEMPT = {
  inHand: { pinned: null, digest: null, from: null, recoveredAt: null, notReadyBefore: null, steps: null, drain: null },
  lastAttempt: {
    request: null,
    retry: null,
    bootID: null,
    digest: null,
    version: null,
    from: null,
    message: null,
    startedAt: null,
    writes: null,
    notReadyBefore: null,
    steps: null,
    evidence: null,
  },
  recovery: { digest: null },
  evidence: { bootID: null, by: null, bootState: null, version: null, stamp: null },
  request: { try: null },
};

const KAIROS_NODES = `/apis/${KAIROS_GROUP}/${API_VERSION}/kairosnodes`;

/** All KairosNodes, by the name of their Node. */
export function watchKairosNodes(client: KubeClient, log?: ReflectorLog): Reflector<KairosNodeView> {
  return startReflector<KairosNodeView>(client, { path: KAIROS_NODES, project: kairosNodeView, ...(log && { log }) });
}

/** Rejects with `NotFound` when the node has none: it does not run Kairos, or its agent has not reported yet. */
export async function readKairosNode(client: KubeClient, name: string): Promise<KairosNodeView> {
  return kairosNodeView(await client.request<RawObject>({ verb: 'get', path: pathOf(name) }));
}

/**
 * A merge patch, but `inHand`, `lastAttempt` and `recovery` are replaced as a whole: each is about one attempt. Only
 * `inHand.writes` stays until it is named, or the node is in hand no more: most steps do not know it. Rejects with
 * `Conflict` when `resourceVersion` is given and is not the present one.
 */
export async function patchKairosNodeStatus(
  client: KubeClient,
  name: string,
  change: KairosNodeStatusChange,
  resourceVersion?: string,
): Promise<KairosNodeView> {
  const { inHand, lastAttempt, recovery } = change;
  const status = {
    ...change,
    ...(inHand && { inHand: { ...NO_ATTEMPT.inHand, ...inHand, ...requestOf(inHand) } }),
    ...(lastAttempt && {
      lastAttempt: { ...NO_ATTEMPT.lastAttempt, ...lastAttempt, ...requestOf(lastAttempt), ...evidenceOf(lastAttempt) },
    }),
    ...(recovery && { recovery: { ...NO_ATTEMPT.recovery, ...recovery } }),
  };
  return kairosNodeView(
    await client.request<RawObject>({
      verb: 'merge-patch',
      path: `${pathOf(name)}/status`,
      body: { ...(resourceVersion !== undefined && { metadata: { resourceVersion } }), status },
      fieldManager: OPERATOR_FIELD_MANAGER,
    }),
  );
}

type Attempt = NonNullable<KairosNodeOperatorStatus['lastAttempt']>;

const requestOf = ({ request }: Pick<Attempt, 'request'>) =>
  request && { request: { ...NO_ATTEMPT.request, ...request } };

const evidenceOf = ({ evidence }: Attempt) => evidence && { evidence: { ...NO_ATTEMPT.evidence, ...evidence } };

/**
 * Server-side apply without force: `{}` gives back the fields that the operator holds. Rejects with `Conflict` when
 * somebody else holds one with another value; the error's causes name the field and its manager. Never creates:
 * rejects with `NotFound` when there is no such KairosNode, with `Conflict` when it has been replaced meanwhile.
 * `seenUID`: what a watch has shown under this name; only where that is not it any more is it read.
 */
export async function applyKairosNodeSpec(
  client: KubeClient,
  name: string,
  spec: KairosNodeSpec,
  seenUID?: string,
): Promise<KairosNodeView> {
  try {
    // An apply creates what is missing, unless it names the UID of what must be there.
    return await applySpec(client, name, spec, seenUID ?? (await readKairosNode(client, name)).uid);
  } catch (error) {
    const isAnother = seenUID !== undefined && error instanceof KubeError && isConflictOfUID(error);
    if (!isAnother) throw error;
    return applySpec(client, name, spec, (await readKairosNode(client, name)).uid);
  }
}

/** A conflict about fields names them. */
const isConflictOfUID = ({ reason, causes }: KubeError) => reason === 'Conflict' && causes.length === 0;

async function applySpec(client: KubeClient, name: string, spec: KairosNodeSpec, uid: string): Promise<KairosNodeView> {
  const body = {
    apiVersion: `${KAIROS_GROUP}/${API_VERSION}`,
    kind: 'KairosNode',
    metadata: { name, uid },
    ...(Object.keys(spec).length > 0 && { spec }),
  };
  return kairosNodeView(
    await client.request<RawObject>({ verb: 'apply', path: pathOf(name), body, fieldManager: OPERATOR_FIELD_MANAGER }),
  );
}

/** Makes the KairosNode go when its Node goes. */
export async function setKairosNodeOwner(client: KubeClient, name: string, node: { nodeUID: string }): Promise<void> {
  const ownerReferences = [{ apiVersion: 'v1', kind: 'Node', name, uid: node.nodeUID }];
  await client.request<RawObject>({
    verb: 'merge-patch',
    path: pathOf(name),
    body: { metadata: { ownerReferences } },
    fieldManager: OPERATOR_FIELD_MANAGER,
  });
}

const pathOf = (name: string) => `${KAIROS_NODES}/${encodeURIComponent(name)}`;

function kairosNodeView({ metadata, spec, status }: RawObject): KairosNodeView {
  const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'Node');
  // As much of it as the status holds.
  const retry = metadata.annotations?.[RETRY_ANNOTATION]?.slice(0, 250);
  return {
    name: metadata.name,
    uid: metadata.uid,
    generation: metadata.generation ?? 0,
    resourceVersion: metadata.resourceVersion,
    spec: spec ?? {},
    specManagers: specManagers(metadata, spec ?? {}),
    status: status ?? {},
    ...(owner !== undefined && { ownerUID: owner.uid }),
    ...(retry !== undefined && { retry }),
  };
}

function specManagers({ managedFields = [] }: RawMetadata, spec: KairosNodeSpec): string[] {
  const owners = managedFields.filter(({ fieldsV1 }) => {
    const fields = (fieldsV1 as { 'f:spec'?: Record<string, unknown> } | undefined)?.['f:spec'] ?? {};
    return 'f:image' in fields || 'f:version' in fields;
  });
  const isSet = spec.image !== undefined || spec.version !== undefined;
  if (isSet && owners.length === 0) return ['before-first-apply'];
  return [...new Set(owners.map(({ manager }) => manager ?? ''))].filter((manager) => manager !== '');
}
