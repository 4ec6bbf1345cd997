import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';

/** Where to listen or to connect: `{ path }` of a socket file, or `{ host, port }`. */
export type Place = { readonly path: string } | { readonly host: string; readonly port: number };

export interface Relay {
  /** Ends every connection that there is now, as the loss of the other side's power would in the end be noticed. */
  cut(): void;
  close(): void;
}

/**
 * Hands every connection on. A socket file can be reached from any network namespace, so two of these, one inside and
 * one outside, are a way in that touches no network of the outer machine.
 */
export async function startRelay(from: Place, to: Place): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server = createServer((incoming) => {
    const outgoing = connect(to);
    const both = [incoming, outgoing];
    const end = () => both.forEach((socket) => void (sockets.delete(socket), socket.destroy()));
    for (const socket of both) {
      sockets.add(socket);
      socket.on('error', end).on('close', end);
    }
    incoming.pipe(outgoing).pipe(incoming);
  });
  const cut = () => sockets.forEach((socket) => socket.destroy());
  if ('path' in from) rmSync(from.path, { force: true });
  server.listen(from);
  await once(server, 'listening');
  return {
    cut,
    close() {
      server.close();
      cut();
    },
  };
}

// Inside a network namespace: node rig/relay.ts SOCKET HOST PORT
if (import.meta.main) {
  const [path = '', host = '', port = ''] = process.argv.slice(2);
  await startRelay({ path }, { host, port: Number(port) });
}
