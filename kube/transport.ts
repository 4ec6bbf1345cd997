import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import type { Access, ClusterAccess } from './access.ts';
import { KubeError, errorFromAnswer, isReason, timedOut, unreachable } from './errors.ts';

export interface Call {
  verb: string;
  method: string;
  path: string;
  query: Record<string, string | number | boolean | undefined>;
  body: unknown;
  contentType: string;
  deadlineMs: number;
  signal: AbortSignal | undefined;
  /** Whether doing it twice does no harm. */
  repeatable: boolean;
  /** Hand out the answer as a stream; the deadline then ends with the headers. */
  stream?: boolean;
  /** The answer is a word, and not JSON. */
  plain?: true | undefined;
}

export interface Answer {
  /** Parsed JSON. */
  body?: unknown;
  stream?: IncomingMessage;
}

/** Sends one call and waits for its answer. Rejects with a KubeError, or with the signal's reason. */
export async function send(access: ClusterAccess, call: Call): Promise<Answer> {
  const called = { verb: call.verb, path: call.path };
  call.signal?.throwIfAborted();
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(timedOut(called, call.deadlineMs)), call.deadlineMs);
  const onAbort = () => end.abort(call.signal?.reason);
  call.signal?.addEventListener('abort', onAbort);
  try {
    return await receive(await untilAborted(access.current(), end.signal), call, end.signal);
  } catch (error) {
    if (isReason(end.signal.reason, 'Timeout')) access.dropIdleConnections();
    if (end.signal.aborted) throw end.signal.reason;
    throw error instanceof KubeError ? error : unreachable(called, error);
  } finally {
    clearTimeout(timer);
    call.signal?.removeEventListener('abort', onAbort);
  }
}

async function receive(access: Access, call: Call, signal: AbortSignal): Promise<Answer> {
  const called = { verb: call.verb, path: call.path };
  const response = await respond(access, call, signal, true);
  const code = response.statusCode ?? 0;
  const success = code < 300;
  if (success && call.stream === true) return { stream: response };
  const destroy = () => response.destroy();
  if (signal.aborted) destroy();
  signal.addEventListener('abort', destroy);
  try {
    const body = parsed(await text(response));
    if (success && (typeof body === 'object' || call.plain === true)) return { body };
    // The API server does not redirect, and of its resources it speaks in JSON.
    if (code < 400) throw unreachable(called, new Error(`something else answered, with code ${code}`));
    throw errorFromAnswer(called, { code, body, retryAfter: response.headers['retry-after'] });
  } finally {
    signal.removeEventListener('abort', destroy);
  }
}

/** Resolves with the headers of the answer. */
async function respond(access: Access, call: Call, signal: AbortSignal, mayRepeat: boolean): Promise<IncomingMessage> {
  signal.throwIfAborted();
  let request: ClientRequest | undefined;
  const destroy = () => request?.destroy();
  signal.addEventListener('abort', destroy);
  try {
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const body = call.body === undefined ? undefined : JSON.stringify(call.body);
      request = open(access, call, body === undefined ? undefined : Buffer.byteLength(body));
      request.on('response', resolve).on('error', reject);
      request.end(body);
    });
  } catch (error) {
    // A kept connection may be closed by the other side at the very moment when we use it again.
    const again = mayRepeat && call.repeatable && request?.reusedSocket === true && !signal.aborted;
    if (!again) throw error;
    return await respond(access, call, signal, false);
  } finally {
    signal.removeEventListener('abort', destroy);
  }
}

function open(access: Access, call: Call, length: number | undefined): ClientRequest {
  const { server, pools, auth } = access;
  const base = server.pathname.replace(/\/$/, '');
  const send = server.protocol === 'http:' ? httpRequest : httpsRequest;
  return send({
    agent: call.stream === true ? pools.watches : pools.calls,
    protocol: server.protocol,
    hostname: server.hostname.replace(/^\[|\]$/g, ''),
    port: server.port || undefined,
    method: call.method,
    path: `${base}${call.path}${queryString(call.query)}`,
    ...(auth !== undefined && { auth }),
    headers: {
      Accept: 'application/json',
      'User-Agent': 'kairos-operator',
      ...access.headers,
      // Node announces no length for the body of a DELETE: what follows on that connection would be taken for it.
      ...(length !== undefined && { 'Content-Type': call.contentType, 'Content-Length': length }),
    },
  });
}

function queryString(query: Call['query']): string {
  const pairs = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, String(value)] as const],
  );
  return pairs.length === 0 ? '' : `?${new URLSearchParams(Object.fromEntries(pairs)).toString()}`;
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}

/** The promise, or a rejection once the signal is aborted: reading credentials may hang in an exec plugin. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
