import { createServer } from 'node:net';

/**
 * Below the range from which Linux (32768) and macOS (49152) take the source ports of outgoing connections: a server
 * that is killed and started again on its port must not find it taken by somebody's connection.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

const given = new Set<number>();

/** A port of 127.0.0.1 that nobody listens on and that this process has not been given before. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (given.has(port) || !(await canListen(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(
    `no free port on 127.0.0.1 between ${FIRST_PORT} and ${LAST_PORT} in 200 tries; stop what listens there`,
  );
}

/**
 * The port that somebody asked for, for `who`.
 * @throws Error that names both when somebody else listens there
 */
export async function fixedPort(port: number, who: string): Promise<number> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new Error(`${who} cannot use port ${port}: choose one from 1 to 65535`);
  if (await canListen(port)) return port;
  throw new Error(
    `${who} wants port ${port} of 127.0.0.1, and it is taken (or may not be opened by this user): stop what listens there (ss -ltnp shows it), or choose another port`,
  );
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
