import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import type { Readiness } from './readiness.ts';

/**
 * Answers the kubelet: `/healthz` is 200 as long as the process answers, `/readyz` is 200 while it does its work, and
 * 503 with what is missing otherwise. `/metrics` is for Prometheus.
 * @throws Error that names the port when it is taken
 */
export async function serveHealth(
  port: number,
  readiness: Readiness,
  metrics: Pick<Registry, 'metrics' | 'contentType'>,
): Promise<Server> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    const answer = (code: number, text: string) =>
      response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
    if (path === '/healthz') answer(200, 'ok\n');
    else if (path === '/readyz') answer(readiness.ready ? 200 : 503, readiness.text());
    else if (path === '/metrics') void answerMetrics(response, metrics);
    else answer(404, 'here are /healthz, /readyz and /metrics\n');
  });
  server.listen(port);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason =
      code === 'EADDRINUSE'
        ? 'the port is taken by another process; stop that one, or set another port'
        : code === 'EACCES'
          ? 'the port may not be opened by this user; set one from 1024 on'
          : message;
    throw new Error(`HEALTH_PORT=${port}: ${reason}`, { cause: error });
  }
  return server;
}

async function answerMetrics(
  response: ServerResponse,
  metrics: Pick<Registry, 'metrics' | 'contentType'>,
): Promise<void> {
  try {
    const text = await metrics.metrics();
    response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' }).end(`${(error as Error).message}\n`);
  }
}
