/**
 * The server, of those that we have credentials for, that an address belongs to: the same scheme, host and port, and a
 * path that is its own or below it; of several the one that says most. Whoever writes a NodeOpUpgrade chooses the address
 * that is asked, so nothing that only looks alike may be sent them.
 */
export function serverFor<Server extends { url: string }>(
  address: string,
  servers: readonly Server[],
): Server | undefined {
  const asked = new URL(address);
  const pathOf = ({ pathname }: URL) => (pathname.endsWith('/') ? pathname : `${pathname}/`);
  return servers
    .map((server) => ({ server, url: new URL(server.url) }))
    .filter(({ url }) => url.origin === asked.origin && pathOf(asked).startsWith(pathOf(url)))
    .sort((a, b) => pathOf(b.url).length - pathOf(a.url).length)[0]?.server;
}
