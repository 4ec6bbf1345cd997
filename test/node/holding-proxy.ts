import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, createServer, request as httpsRequest } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { ControlPlane } from '../../sim/control-plane.ts';
import { writeKubeconfig } from '../../sim/credentials.ts';

/** A write that a client asks for. */
export interface AskedWrite {
  method: string;
  path: string;
  body: WriteBody;
}

/** What of a body tells which write it is. */
export interface WriteBody {
  metadata?: { name?: string; annotations?: Record<string, string | null> };
  spec?: { unschedulable?: boolean | null; nodeName?: string; template?: { spec?: { nodeName?: string } } };
  status?: { step?: string };
}

type Matches = (write: AskedWrite) => boolean;

/** Certain writes, kept back. */
export interface Hold {
  /** Resolves when a client asks for the first of them. It is kept waiting, and so is its repetition when it gives up. */
  readonly reached: Promise<void>;
  /**
   * Lets the API server carry them out, but keeps back the answers: whoever dies now has done something and does not
   * know it. Resolves when one has been carried out.
   */
  carryOut(): Promise<void>;
  /** Gives every answer that is kept back, and holds up nothing any more. */
  release(): void;
}

interface Rule {
  matches: Matches;
  reached: PromiseWithResolvers<void>;
  begun: PromiseWithResolvers<void>;
  done: PromiseWithResolvers<void>;
  released: PromiseWithResolvers<void>;
}

/** Stands between a client and the API server of a simulated control plane, and keeps back answers. */
export interface HoldingProxy {
  /** As that of the control plane, but for clients that go through here. */
  kubeconfigFor: ControlPlane['kubeconfigFor'];
  hold(matches: Matches): Hold;
  /** Refuses matching writes, as an API server in trouble does, as often as that. */
  refuse(matches: Matches, times: number): void;
  stop(): Promise<void>;
}

/** It shows the certificate of the API server itself, which is made for 127.0.0.1, whatever the port. */
export async function startHoldingProxy(folder: string, controlPlane: ControlPlane): Promise<HoldingProxy> {
  const ca = readFileSync(controlPlane.caFile);
  const agent = new Agent({ keepAlive: true, ca });
  const upstream = new URL(controlPlane.url);
  const rules = new Set<Rule>();
  const refusals = new Map<Matches, number>();
  const sockets = new Set<Socket>();
  const server = createServer({ cert: ca, key: readFileSync(join(folder, 'pki', 'apiserver.key')) });
  server.keepAliveTimeout = 120_000;

  async function forward(request: IncomingMessage, body: string): Promise<IncomingMessage> {
    const { method = 'GET', url = '/', headers } = request;
    const options = { agent, method, path: url, headers, hostname: upstream.hostname, port: upstream.port };
    return new Promise((resolve, reject) => {
      const asked = httpsRequest(options, resolve);
      asked.on('error', reject).end(body);
      request.socket.once('close', () => asked.destroy());
    });
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const write = writeOf(request, body);
    if (write !== undefined && isRefused(write)) {
      const status = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 500, reason: 'InternalError' };
      response.writeHead(500, { 'content-type': 'application/json' }).end(JSON.stringify(status));
      return;
    }
    const rule = write && [...rules].find(({ matches }) => matches(write));
    const gone = once(response, 'close');
    rule?.reached.resolve();
    if (rule !== undefined) await Promise.race([rule.begun.promise, gone]);
    if (response.destroyed) return;
    const answer = await forward(request, body);
    rule?.done.resolve();
    if (rule !== undefined) await Promise.race([rule.released.promise, gone]);
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
    answer.on('error', () => response.destroy());
  }

  function isRefused(write: AskedWrite): boolean {
    for (const [matches, left] of refusals) {
      if (left === 0 || !matches(write)) continue;
      refusals.set(matches, left - 1);
      return true;
    }
    return false;
  }

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    handle(request, response).catch(() => response.destroy());
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const at = { url: `https://127.0.0.1:${port}`, caFile: controlPlane.caFile };

  return {
    kubeconfigFor: (options) => writeKubeconfig(folder, at, options),
    hold(matches) {
      const gate = () => Promise.withResolvers<void>();
      const rule: Rule = { matches, reached: gate(), begun: gate(), done: gate(), released: gate() };
      rules.add(rule);
      return {
        reached: rule.reached.promise,
        carryOut() {
          rule.begun.resolve();
          return rule.done.promise;
        },
        release() {
          rules.delete(rule);
          rule.begun.resolve();
          rule.released.resolve();
        },
      };
    },
    refuse: (matches, times) => void refusals.set(matches, times),
    async stop() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      agent.destroy();
      await closed;
    },
  };
}

function writeOf({ method = 'GET', url = '/' }: IncomingMessage, body: string): AskedWrite | undefined {
  if (method === 'GET' || body === '') return undefined;
  try {
    return { method, path: new URL(url, 'https://proxy').pathname, body: JSON.parse(body) as WriteBody };
  } catch {
    return undefined;
  }
}
