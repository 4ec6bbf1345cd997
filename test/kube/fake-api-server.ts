import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

export interface Seen {
  method: string;
  url: URL;
  headers: IncomingMessage['headers'];
  body: unknown;
}

type Fault = (seen: Seen, response: ServerResponse) => boolean | void;

interface Stored {
  metadata: { name: string; uid: string; resourceVersion: string; annotations?: Record<string, string> };
}

/** One collection of objects, listed in pages and watched like the real thing, with faults on demand. */
export class FakeApiServer {
  readonly folder = mkdtempSync(join(tmpdir(), 'kube-fake-'));
  readonly seen: Seen[] = [];
  readonly objects = new Map<string, Stored>();
  readonly watches = new Set<ServerResponse>();
  connections = 0;
  pageSize = 500;
  version = 100;
  /** Answers instead of the server where it returns true. */
  fault: Fault | undefined;
  #history: { type: string; object: Stored }[] = [];
  #server: Server | undefined;
  #sockets = new Set<Socket>();
  #port = 0;

  get kubeconfig(): string {
    const file = join(this.folder, 'kubeconfig');
    writeFileSync(join(this.folder, 'token'), 'first\n', { flag: 'a' });
    const cluster = { server: `http://127.0.0.1:${this.#port}`, 'insecure-skip-tls-verify': true };
    writeFileSync(
      file,
      JSON.stringify({
        clusters: [{ name: 'fake', cluster }],
        users: [{ name: 'me', user: { tokenFile: 'token' } }],
        contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'me' } }],
        'current-context': 'fake',
      }),
    );
    return file;
  }

  async start(): Promise<this> {
    const server = createServer((request, response) => void this.#answer(request, response));
    server.on('connection', (socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
    return this;
  }

  /** As when its machine reboots: every connection breaks. */
  async stop(): Promise<void> {
    const closed = this.#server && once(this.#server, 'close');
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
    this.watches.clear();
    await closed;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  set(name: string, annotations: Record<string, string> = {}, uid = `uid-${name}`): void {
    const object = { metadata: { name, uid, resourceVersion: String(++this.version), annotations } };
    const type = this.objects.has(name) ? 'MODIFIED' : 'ADDED';
    this.objects.set(name, object);
    this.#send({ type, object });
  }

  delete(name: string): void {
    const object = this.objects.get(name);
    if (object === undefined) return;
    this.objects.delete(name);
    this.#send({
      type: 'DELETED',
      object: { metadata: { ...object.metadata, resourceVersion: String(++this.version) } },
    });
  }

  /** Sends an event as it is, whatever the objects are. */
  sendRaw(event: unknown): void {
    for (const watch of this.watches) watch.write(`${JSON.stringify(event)}\n`);
  }

  /** Forgets its history, as compaction does. */
  compact(): void {
    this.#history = [];
  }

  endWatches(event?: unknown): void {
    for (const watch of this.watches) watch.end(event === undefined ? '' : `${JSON.stringify(event)}\n`);
    this.watches.clear();
  }

  count(kind: 'list' | 'watch'): number {
    const seen = this.seen.map(({ url }) => url.searchParams);
    return seen.filter((query) => (kind === 'watch' ? query.has('watch') : query.get('limit') === '500')).length;
  }

  #send(event: { type: string; object: Stored }): void {
    this.#history.push(event);
    for (const watch of this.watches) watch.write(`${JSON.stringify(event)}\n`);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const url = new URL(request.url ?? '/', 'http://fake');
    const { method = '', headers } = request;
    const seen = { method, url, headers, body: body === '' ? undefined : (JSON.parse(body) as unknown) };
    this.seen.push(seen);
    if (this.fault?.(seen, response) === true) return;
    if (url.searchParams.has('watch')) this.#watch(url, response);
    else this.#list(url, response);
  }

  #list(url: URL, response: ServerResponse): void {
    if (Number(url.searchParams.get('resourceVersion') ?? 0) > this.version) {
      const causes = [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }];
      answer(response, 504, status(504, 'Timeout', 'Timeout: Too large resource version', { causes }));
      return;
    }
    const start = Number(url.searchParams.get('continue') ?? 0);
    const limit = Math.min(Number(url.searchParams.get('limit') ?? 500), this.pageSize);
    const items = [...this.objects.values()];
    const next = start + limit < items.length ? String(start + limit) : '';
    const metadata = { resourceVersion: String(this.version), continue: next };
    answer(response, 200, { metadata, items: items.slice(start, start + limit) });
  }

  #watch(url: URL, response: ServerResponse): void {
    const since = Number(url.searchParams.get('resourceVersion'));
    const isOldest = Number(this.#history[0]?.object.metadata.resourceVersion ?? this.version + 1);
    if (since < isOldest - 1) {
      answer(response, 200, { type: 'ERROR', object: status(410, 'Expired', 'too old resource version') });
      return;
    }
    response.writeHead(200);
    response.flushHeaders();
    for (const event of this.#history) {
      if (Number(event.object.metadata.resourceVersion) > since) response.write(`${JSON.stringify(event)}\n`);
    }
    this.watches.add(response);
    response.on('close', () => this.watches.delete(response));
  }
}

export function answer(response: ServerResponse, code: number, body: unknown, headers = {}): void {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' ? body : `${JSON.stringify(body)}\n`);
}

export function status(code: number, reason: string, message: string, details: object = {}): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message, details };
}

export async function until(condition: () => boolean, withinMs = 5000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
