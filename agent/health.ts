import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AgentState } from './agent.ts';

/**
 * Answers the kubelet: `/readyz` is 200 while what the machine runs is reported (or there is nothing to report) and
 * 503 otherwise; `/healthz` is 200 as long as the process answers. Throws when the port is taken.
 */
export async function serveHealth(port: number, state: () => AgentState | undefined): Promise<Server> {
  const server = createServer((request, response) => {
    const now = state();
    const ok = request.url === '/healthz' || (request.url === '/readyz' && (now === 'reported' || now === 'idle'));
    const isKnown = request.url === '/healthz' || request.url === '/readyz';
    response.writeHead(ok ? 200 : isKnown ? 503 : 404, { 'content-type': 'text/plain' });
    response.end(`${isKnown ? (now ?? 'starting') : 'not found'}\n`);
  });
  server.listen(port);
  await once(server, 'listening');
  return server;
}
