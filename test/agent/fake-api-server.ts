import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiServer } from '../../agent/api-client.ts';
import { selfSigned } from './self-signed.ts';

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly token: string;
  readonly contentType: string;
  /** Of a GET: nothing. */
  readonly body: { metadata: Record<string, unknown>; spec?: unknown; status?: Record<string, unknown> };
}

type Fault = (request: SeenRequest, response: ServerResponse) => void;

/** Just enough of an API server for one agent: KairosNodes that must be created before their status can be applied. */
export class FakeApiServer {
  readonly folder = mkdtempSync(join(tmpdir(), 'agent-api-'));
  readonly requests: SeenRequest[] = [];
  readonly nodes = new Map<string, Record<string, unknown>>();
  /** The only token that is accepted. */
  token = 'first';
  connections = 0;
  /** Requests that came and were not answered yet, and the most of them at once. */
  pending = 0;
  mostPending = 0;
  /** How long each answer takes. */
  delayMs = 0;
  /** Answers instead of the server, as long as it is set. */
  fault: Fault | undefined;
  #server: Server | undefined;
  #port = 0;
  #certificate = selfSigned();

  get settings(): ApiServer {
    const caFile = join(this.folder, 'ca.crt');
    return { host: '127.0.0.1', port: this.#port, caFile, tokenFile: join(this.folder, 'token') };
  }

  async start(): Promise<this> {
    this.#server = createServer(this.#certificate, (request, response) => void this.#serve(request, response));
    this.#server.on('secureConnection', () => (this.connections += 1));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
    this.publish();
    return this;
  }

  /** Writes the certificate that is served and the given token to the files that the agent reads. */
  publish(token = this.token): void {
    writeFileSync(this.settings.caFile, this.#certificate.cert);
    writeFileSync(this.settings.tokenFile, `${token}\n`);
  }

  /** From the next start on another certificate is served; the agent's CA file is left as it is. */
  changeCertificate(): void {
    this.#certificate = selfSigned();
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server?.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.pending += 1;
    this.mostPending = Math.max(this.mostPending, this.pending);
    response.once('close', () => (this.pending -= 1));
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const seen: SeenRequest = {
      method: request.method ?? '',
      url: request.url ?? '',
      token: (request.headers.authorization ?? '').replace('Bearer ', ''),
      contentType: request.headers['content-type'] ?? '',
      body: JSON.parse(Buffer.concat(chunks).toString('utf8') || '{}') as SeenRequest['body'],
    };
    this.requests.push(seen);
    if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
    if (this.fault) this.fault(seen, response);
    else if (seen.token !== this.token) refuse(response, 401, 'Unauthorized');
    else if (seen.method === 'GET') this.#read(seen, response);
    else if (seen.method === 'POST') this.#create(seen, response);
    else this.#applyStatus(seen, response);
  }

  #create({ body }: SeenRequest, response: ServerResponse): void {
    const name = String(body.metadata['name']);
    if (this.nodes.has(name)) return refuse(response, 409, 'AlreadyExists');
    this.nodes.set(name, {});
    response.writeHead(201).end('{}');
  }

  #read({ url }: SeenRequest, response: ServerResponse): void {
    const name = /kairosnodes\/([^/?]+)/.exec(url)?.[1] ?? '';
    const status = this.nodes.get(name);
    if (status === undefined) return refuse(response, 404, 'NotFound');
    response.writeHead(200).end(JSON.stringify({ metadata: { name }, status }));
  }

  /** What the agents wrote, in order; reading is no writing. */
  get writes(): SeenRequest[] {
    return this.requests.filter(({ method }) => method !== 'GET');
  }

  #applyStatus({ url, body }: SeenRequest, response: ServerResponse): void {
    const name = /kairosnodes\/([^/]+)\/status/.exec(url)?.[1] ?? '';
    if (!this.nodes.has(name)) return refuse(response, 404, 'NotFound');
    this.nodes.set(name, body.status ?? {});
    response.writeHead(200).end('{}');
  }
}

export function refuse(response: ServerResponse, code: number, reason: string, headers: Record<string, string> = {}) {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, reason, message: `test: ${reason}` }));
}
