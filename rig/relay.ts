import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Where to listen or to connect: `{ path }` of a socket file, or `{ host, port }`. */
export type Place = { readonly path: string } | { readonly host: string; readonly port: number };

/**
 * Hands every connection on. A socket file can be reached from any network namespace, so two of these, one inside and
 * one outside, are a way in that touches no network of the outer machine.
 */
export function startRelay(from: Place, to: Place): Promise<Server> {
  const server = createServer((incoming) => {
    const outgoing = connect(to);
    const end = () => [incoming, outgoing].forEach((socket: Socket) => socket.destroy());
    for (const socket of [incoming, outgoing]) socket.on('error', end).on('close', end);
    incoming.pipe(outgoing).pipe(incoming);
  });
  if ('path' in from) rmSync(from.path, { force: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(from, () => resolve(server));
  });
}

// Inside a network namespace: node rig/relay.ts SOCKET HOST PORT
if (import.meta.main) {
  const [path = '', host = '', port = ''] = process.argv.slice(2);
  await startRelay({ path }, { host, port: Number(port) });
}
