import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, type Server, createServer, request as httpsRequest } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { prepareCredentials, writeKubeconfig } from '../../sim/credentials.ts';
import { answer, status } from './fake-api-server.ts';
import type { Asked, CallFault, Faults } from './faults.ts';
import { FaultyWatch } from './watch-faults.ts';

const REMEMBERED_LISTS = 6;
/** A late write comes at most so long after its client has given up. */
export const LATE_MS = 300;
const REASONS: Record<string, string> = {
  '401': 'Unauthorized',
  '409': 'Conflict',
  '410': 'Expired',
  '429': 'TooManyRequests',
  '500': 'InternalError',
  '503': 'ServiceUnavailable',
  '504': 'Timeout',
};

/** A write that the API server was given, and its answer. */
export interface Forwarded {
  method: string;
  path: string;
  body: string;
  code: number;
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  asked: Asked;
  url: URL;
  body: string;
}

/** A network, with TLS, between clients and the API server of a simulated control plane, and all that goes wrong in one. */
export class FaultyProxy {
  readonly kubeconfig: string;
  readonly #faults: Faults;
  readonly #upstream: URL;
  readonly #agent: Agent;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #lists = new Map<string, string[]>();
  readonly #events = new Map<string, string[]>();
  readonly #onWrite: (write: Forwarded) => void;
  #isDown = false;

  private constructor(server: Server, options: ProxyOptions, ca: Buffer) {
    const { folder, url, faults } = options;
    const { port } = server.address() as AddressInfo;
    const token = prepareCredentials(folder).tokens.admin;
    const at = { url: `https://127.0.0.1:${port}`, caFile: options.caFile };
    this.kubeconfig = writeKubeconfig(folder, at, { name: 'faulty', token });
    this.#server = server;
    this.#faults = faults;
    this.#upstream = new URL(url);
    this.#agent = new Agent({ keepAlive: true, ca });
    this.#onWrite = options.onWrite ?? (() => {});
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response).catch(() => response.socket?.destroy());
    });
    server.on('connection', (socket: Socket) => {
      if (this.#isDown) socket.destroy();
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {});
    });
    server.on('tlsClientError', () => {});
  }

  /** It shows the certificate of the API server itself, which is made for 127.0.0.1, whatever the port. */
  static async start(options: ProxyOptions): Promise<FaultyProxy> {
    const cert = readFileSync(options.caFile);
    const server = createServer({ cert, key: readFileSync(join(options.folder, 'pki', 'apiserver.key')) });
    server.keepAliveTimeout = 120_000;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FaultyProxy(server, options, cert);
  }

  /** Connections from clients. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Breaks every connection and refuses new ones, as when the machine of the API server reboots. */
  down(): void {
    this.#isDown = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  up(): void {
    this.#isDown = false;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://faulty');
    const body = await text(request);
    const exchange = { request, response, asked: askedBy(request, url), url, body };
    const fault = this.#faults.forCall(exchange.asked);
    if (fault === 'late' && !isGuarded(body)) await this.#pass(exchange);
    else if (fault === undefined) await this.#pass(exchange);
    else if (this.#before(fault, exchange)) this.#faults.count(fault);
    else await this.#after(fault, exchange);
  }

  /** Faults of which the API server hears nothing, or nothing in time; false when `fault` is none of these. */
  #before(fault: CallFault, exchange: Exchange): boolean {
    const { response, url } = exchange;
    const acts: { [F in CallFault]?: () => void } = {
      'reset before': () => response.socket?.destroy(),
      'stall before': () => {},
      late: () => this.#forwardLate(exchange),
      redirect: () => answer(response, 302, '', { location: 'https://faulty/login' }),
      '502': () => answer(response, 502, '<html>502 Bad Gateway</html>', { 'content-type': 'text/html' }),
    };
    const act = acts[fault];
    const reason = REASONS[fault];
    if (act !== undefined) {
      act();
    } else if (fault === 'old list') {
      const old = this.#faults.pick('old', (this.#lists.get(listKey(url)) ?? []).slice(0, -1));
      if (old === undefined) return false;
      answer(response, 200, old);
    } else if (reason !== undefined) {
      const headers = fault === '429' ? { 'retry-after': '1' } : {};
      answer(response, Number(fault), status(Number(fault), reason, 'from the faulty network'), headers);
    } else {
      return false;
    }
    return true;
  }

  #forwardLate(exchange: Exchange): void {
    exchange.response.once('close', () => {
      const delayMs = this.#faults.random('late') * LATE_MS;
      setTimeout(
        () =>
          void this.#forward(exchange)
            .then(text)
            .catch(() => {}),
        delayMs,
      );
    });
  }

  /** Faults that come after the API server has done what it was asked. */
  async #after(fault: CallFault, exchange: Exchange): Promise<void> {
    const { response } = exchange;
    const upstream = await this.#forward(exchange);
    const body = await text(upstream);
    const code = upstream.statusCode ?? 500;
    const acts: { [F in CallFault]?: () => void } = {
      'reset after': () => response.socket?.destroy(),
      'stall after': () => {},
      'cut answer': () => {
        response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
        response.write(body.slice(0, body.length / 2), () => response.socket?.destroy());
      },
      'login page': () => answer(response, 200, '<html>please log in</html>'),
    };
    const act = acts[fault];
    if (act === undefined) {
      answer(response, code, body);
      return;
    }
    this.#faults.count(fault);
    act();
  }

  async #pass(exchange: Exchange): Promise<void> {
    const { response, url, asked } = exchange;
    const upstream = await this.#forward(exchange);
    response.on('close', () => upstream.destroy());
    if (asked === 'watch' && upstream.statusCode === 200) {
      const sent = this.#events.get(url.pathname) ?? [];
      this.#events.set(url.pathname, sent);
      await new FaultyWatch(this.#faults, response, sent).run(upstream);
      return;
    }
    const body = await text(upstream);
    if (asked === 'list' && upstream.statusCode === 200) this.#remember(listKey(url), body);
    answer(response, upstream.statusCode ?? 500, body, retryAfter(upstream));
  }

  #remember(key: string, list: string): void {
    const lists = [...(this.#lists.get(key) ?? []), list];
    this.#lists.set(key, lists.slice(-REMEMBERED_LISTS));
  }

  async #forward({ request, url, body, asked, response }: Exchange): Promise<IncomingMessage> {
    const { method = 'GET', headers } = request;
    const { authorization, accept, 'content-type': type } = headers;
    const forwarded = httpsRequest({
      agent: this.#agent,
      hostname: this.#upstream.hostname,
      port: this.#upstream.port,
      method,
      path: request.url,
      headers: {
        authorization,
        accept,
        ...(body !== '' && { 'content-type': type, 'content-length': Buffer.byteLength(body) }),
      },
    });
    if (asked !== 'write') response.on('close', () => forwarded.destroy());
    forwarded.on('error', () => {}).end(body);
    const [upstream] = (await once(forwarded, 'response')) as [IncomingMessage];
    if (asked === 'write') this.#onWrite({ method, path: url.pathname, body, code: upstream.statusCode ?? 0 });
    return upstream;
  }
}

export interface ProxyOptions {
  /** Of the control plane. */
  folder: string;
  url: string;
  caFile: string;
  faults: Faults;
  /** Told of every write that reached the API server, whatever its client was told. */
  onWrite?: (write: Forwarded) => void;
}

function askedBy({ method }: IncomingMessage, url: URL): Asked {
  if (method !== 'GET') return 'write';
  if (url.searchParams.has('watch')) return 'watch';
  return url.searchParams.has('limit') ? 'list' : 'get';
}

/** Whether the API server refuses this write where the object has changed, or is another one. */
function isGuarded(body: string): boolean {
  if (body === '') return false;
  const { metadata, preconditions, deleteOptions } = JSON.parse(body) as {
    metadata?: { resourceVersion?: string };
    preconditions?: { uid?: string };
    deleteOptions?: { preconditions?: { uid?: string } };
  };
  const guards = [metadata?.resourceVersion, preconditions?.uid, deleteOptions?.preconditions?.uid];
  return guards.some((guard) => guard !== undefined);
}

/** Lists that may be taken for each other: their versions are not looked at, as by a careless cache. */
function listKey(url: URL): string {
  const query = [...url.searchParams].filter(([name]) => !name.startsWith('resourceVersion'));
  return `${url.pathname}?${new URLSearchParams(query).toString()}`;
}

function retryAfter({ headers }: IncomingMessage): Record<string, string> {
  const { 'retry-after': after } = headers;
  return after === undefined ? {} : { 'retry-after': after };
}
