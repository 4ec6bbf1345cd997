import { ClusterAccess } from './access.ts';
import { KubeError, errorFromAnswer, unreachable } from './errors.ts';
import { type Answer, send } from './transport.ts';
import { readLines } from './lines.ts';

export type Verb = 'get' | 'list' | 'create' | 'replace' | 'merge-patch' | 'apply' | 'delete';
export type Query = Record<string, string | number | boolean | undefined>;

export interface KubeRequest {
  verb: Verb;
  /** Such as `/api/v1/nodes/worker-1`; names are to be escaped by the caller. */
  path: string;
  query?: Query;
  body?: unknown;
  /** Needed by `apply`. */
  fieldManager?: string;
  /** From the call to the last byte of the answer, waiting for a connection included. Default 8000. */
  deadlineMs?: number;
  signal?: AbortSignal;
  /** The answer is a word, such as that of /readyz, and not JSON. */
  plain?: true;
}

export interface WatchEvent {
  type: string;
  object: unknown;
}

/** The API server, as plain JSON over pooled connections. */
export interface KubeClient {
  /**
   * One call. Rejects with a KubeError, or with `signal.reason` once the signal is aborted. Nothing is repeated but
   * what cannot have been carried out, or only reads.
   */
  request<T>(request: KubeRequest): Promise<T>;
  /**
   * Delivers events, in order and one at a time, until the API server ends the watch (resolves), the signal is aborted
   * (rejects with `signal.reason`) or anything goes wrong (rejects with a KubeError; an ERROR event is one, too).
   * `onOpen` is called when the API server has accepted the watch. There is no silence timeout: reflectors have one.
   */
  watch(
    path: string,
    query: Query,
    onEvent: (event: WatchEvent) => void,
    signal: AbortSignal,
    onOpen?: () => void,
  ): Promise<void>;
  close(): Promise<void>;
}

const DEFAULT_DEADLINE_MS = 8_000;
/** What every account may create, by the ClusterRole system:basic-user. */
const ACCESS_REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const MAY_ASK_READINESS = {
  apiVersion: 'authorization.k8s.io/v1',
  kind: 'SelfSubjectAccessReview',
  spec: { nonResourceAttributes: { path: '/readyz', verb: 'get' } },
};
const CONTENT_TYPES: Partial<Record<Verb, string>> = {
  'merge-patch': 'application/merge-patch+json',
  apply: 'application/apply-patch+yaml',
};
const METHODS: Record<Verb, string> = {
  get: 'GET',
  list: 'GET',
  create: 'POST',
  replace: 'PUT',
  'merge-patch': 'PATCH',
  apply: 'PATCH',
  delete: 'DELETE',
};

/**
 * A client for the cluster of `kubeconfig`, or of KUBECONFIG, else of the pod's service account, else of ~/.kube/config.
 * Throws an Error that says what to set when none of them is there.
 */
export function connectToCluster(options: { kubeconfig?: string } = {}): KubeClient {
  const access = new ClusterAccess(options.kubeconfig);
  return {
    request: <T>(request: KubeRequest) => call(access, request) as Promise<T>,
    watch: (path, query, onEvent, signal, onOpen) => watch(access, { path, query, onEvent, signal, onOpen }),
    close: () => Promise.resolve(access.close()),
  };
}

async function call(access: ClusterAccess, request: KubeRequest): Promise<unknown> {
  const { verb, path, query = {}, fieldManager, deadlineMs = DEFAULT_DEADLINE_MS, signal } = request;
  const answer = await sendWithFreshCredentials(access, {
    verb,
    method: METHODS[verb],
    path,
    query: { ...query, fieldManager },
    body: request.body,
    contentType: CONTENT_TYPES[verb] ?? 'application/json',
    deadlineMs,
    signal,
    plain: request.plain,
    repeatable: METHODS[verb] === 'GET',
  });
  return answer.body;
}

interface Watch {
  path: string;
  query: Query;
  onEvent: (event: WatchEvent) => void;
  signal: AbortSignal;
  onOpen: (() => void) | undefined;
}

async function watch(access: ClusterAccess, o: Watch): Promise<void> {
  const called = { verb: 'watch', path: o.path };
  const answer = await sendWithFreshCredentials(access, {
    ...called,
    method: 'GET',
    query: { ...o.query, watch: true },
    body: undefined,
    contentType: 'application/json',
    deadlineMs: DEFAULT_DEADLINE_MS,
    signal: o.signal,
    // Who watches must know of every break: behind it there may be a server with another history.
    repeatable: false,
    stream: true,
  });
  const stream = answer.stream;
  if (stream === undefined) throw unreachable(called, new Error('no stream'));
  const abort = () => stream.destroy();
  o.signal.addEventListener('abort', abort);
  try {
    o.signal.throwIfAborted();
    o.onOpen?.();
    for await (const line of readLines(stream)) {
      if (o.signal.aborted) break;
      const event = JSON.parse(line) as WatchEvent;
      if (event.type === 'ERROR') throw errorFromAnswer(called, { body: event.object });
      o.onEvent(event);
    }
    o.signal.throwIfAborted();
  } catch (error) {
    if (o.signal.aborted) throw o.signal.reason;
    throw error instanceof KubeError ? error : unreachable(called, error);
  } finally {
    o.signal.removeEventListener('abort', abort);
    stream.destroy();
  }
}

/**
 * A 401 or 403 means that nothing was done, so the call may be repeated, in the time it has left. 401: if there may be
 * newer credentials. 403: an API server that starts forbids everything to everybody until it has read its roles, and is
 * not ready either; only what a ready one forbids is forbidden. Where this account may not ask whether it is ready, one
 * that grants what every account may has read its roles.
 */
async function sendWithFreshCredentials(access: ClusterAccess, call: Parameters<typeof send>[1]): Promise<Answer> {
  const startedAt = performance.now();
  const again = () =>
    send(access, { ...call, deadlineMs: Math.max(1, call.deadlineMs - (performance.now() - startedAt)) });
  try {
    return await send(access, call);
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    if (error.code === 401 && access.refresh()) return again();
    if (error.code !== 403) throw error;
    await mustBeReady(access, call, error);
    return again();
  }
}

async function mustBeReady(access: ClusterAccess, call: Parameters<typeof send>[1], refused: KubeError): Promise<void> {
  const { deadlineMs, signal } = call;
  const question = {
    query: {},
    repeatable: true,
    contentType: 'application/json',
    deadlineMs,
    signal,
    // Its answer is a word, not JSON: only the headers are waited for.
    stream: true,
  };
  const ask = async (asked: Pick<Parameters<typeof send>[1], 'verb' | 'method' | 'path' | 'body'>) => {
    const answer = await send(access, { ...question, ...asked });
    answer.stream?.destroy();
  };
  const isGranted = () =>
    ask({ verb: 'create', method: 'POST', path: ACCESS_REVIEWS, body: MAY_ASK_READINESS }).then(
      () => true,
      () => false,
    );
  try {
    await ask({ verb: 'get', method: 'GET', path: '/readyz', body: undefined });
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof KubeError && error.code === 403 && (await isGranted())) return;
    throw new KubeError(`${refused.message}; the API server is not ready: ${(error as Error).message}`, {
      verb: refused.verb,
      path: refused.path,
      reason: 'ServiceUnavailable',
      retryable: true,
      code: 503,
    });
  }
}
