import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';

export interface ApiServer {
  /** Name or address, as in KUBERNETES_SERVICE_HOST; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** Certificates in PEM that vouch for the API server. Read again for every request, so that both may rotate. */
  readonly caFile: string;
  readonly tokenFile: string;
  /** From the name look-up to the last byte of the answer. Default 10000. */
  readonly deadlineMs?: number;
}

interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PATCH';
  readonly path: string;
  readonly contentType?: string;
  readonly body?: unknown;
}

export interface ApiClient {
  /**
   * Sends one request; resolves with the parsed answer when it was accepted, `undefined` where that is no JSON. Throws
   * {@link ApiError} for every other answer and the system's error where none came, also after the deadline. Sends
   * nothing twice.
   */
  send(request: ApiRequest): Promise<unknown>;
  close(): void;
}

/** The API server answered, but with no. `retryAfterMs` where it said when to come back. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: number;
  readonly reason: string;
  readonly retryAfterMs: number | undefined;

  constructor(what: string, answer: { code: number; reason: string; message: string; retryAfterMs?: number }) {
    super(`${what}: ${answer.code} ${answer.reason}${answer.message === '' ? '' : `: ${answer.message}`}`);
    this.code = answer.code;
    this.reason = answer.reason;
    this.retryAfterMs = answer.retryAfterMs;
  }
}

const DEADLINE_MS = 10_000;
/** Shorter than the 90 s of the API server, so that we never write to one that it is closing; longer than a check. */
const IDLE_SOCKET_MS = 60_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** A client with one kept-alive connection. Certificates are always checked. Does nothing before the first request. */
export function connectTo(server: ApiServer, signal: AbortSignal): ApiClient {
  let connection: { ca: string; agent: Agent } | undefined;

  function agentFor(ca: string): Agent {
    if (connection?.ca !== ca) {
      connection?.agent.destroy();
      connection = { ca, agent: new Agent({ ca, keepAlive: true, maxSockets: 1, timeout: IDLE_SOCKET_MS }) };
    }
    return connection.agent;
  }

  return {
    async send(request) {
      const [ca, token] = await Promise.all([
        readPart(server.caFile, 'CA_FILE'),
        readPart(server.tokenFile, 'TOKEN_FILE'),
      ]);
      const answer = await exchange(server, { ...request, agent: agentFor(ca), token }, signal);
      if (answer.code < 200 || answer.code > 299) throw errorFrom(request, answer);
      return parse(answer.text);
    },
    close() {
      connection?.agent.destroy();
      connection = undefined;
    },
  };
}

interface Answer {
  readonly code: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

async function exchange(
  server: ApiServer,
  request: ApiRequest & { agent: Agent; token: string },
  signal: AbortSignal,
): Promise<Answer> {
  signal.throwIfAborted();
  const { deadlineMs = DEADLINE_MS } = server;
  const body = request.body === undefined ? '' : JSON.stringify(request.body);
  const sent = httpsRequest({
    host: server.host,
    port: server.port,
    method: request.method,
    path: request.path,
    agent: request.agent,
    headers: {
      accept: 'application/json',
      authorization: `Bearer ${request.token}`,
      ...(request.contentType === undefined ? {} : { 'content-type': request.contentType }),
      ...(body === '' ? {} : { 'content-length': Buffer.byteLength(body) }),
      'user-agent': 'kairos-agent',
    },
  });
  // one deadline from the name look-up to the last byte of the answer, whatever the server does in between
  const stop = () => sent.destroy(new Error('the agent is stopping'));
  const late = () => sent.destroy(new Error(`no answer from ${server.host}:${server.port} within ${deadlineMs} ms`));
  const timer = setTimeout(late, deadlineMs);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise<Answer>((resolve, reject) => {
      let isAnswered = false;
      sent.on('error', reject);
      // an answer of another protocol closes the connection without an error
      sent.on('close', () => {
        if (!isAnswered) reject(new Error(`${server.host}:${server.port} closed the connection without an answer`));
      });
      sent.on('response', (response) => {
        isAnswered = true;
        readAnswer(response).then(resolve, (error: unknown) => reject(sent.errored ?? error));
      });
      sent.end(body);
    });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  const { statusCode: code = 0, headers } = response;
  return { code, retryAfter: headers['retry-after'], text: Buffer.concat(chunks).toString('utf8') };
}

function errorFrom(request: ApiRequest, answer: Answer): ApiError {
  const seconds = Number(answer.retryAfter);
  return new ApiError(`${request.method} ${request.path}`, {
    code: answer.code,
    ...statusOf(answer.text),
    ...(seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}),
  });
}

/** Kubernetes answers with a Status object; a proxy in between may answer with anything. */
function statusOf(text: string): { reason: string; message: string } {
  const status = parse(text) as { reason?: unknown; message?: unknown } | null | undefined;
  if (status === undefined) return { reason: 'Unknown', message: text.slice(0, 200) };
  const textOf = (value: unknown, otherwise: string) => (typeof value === 'string' ? value : otherwise);
  return { reason: textOf(status?.reason, 'Unknown'), message: textOf(status?.message, '').slice(0, 500) };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readPart(file: string, option: string): Promise<string> {
  const hint = 'mount the projected service account token there';
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new Error(`cannot read ${option} ${file}: ${hint}`, { cause });
  });
  // without certificates Node would fall back to those of public authorities, and tell one of their servers the token
  if (text.trim() === '') throw new Error(`${option} ${file} is empty: ${hint}`);
  return text.trim();
}
