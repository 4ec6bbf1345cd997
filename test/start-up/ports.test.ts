import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { fixedPort, freePort } from '../../sim/ports.ts';
import { serveHealth } from '../../process/health.ts';
import { Metrics } from '../../process/metrics.ts';
import { Readiness } from '../../process/readiness.ts';
import { startTemporal } from '../../sim/temporal-server.ts';

async function taken<T>(work: (port: number) => Promise<T>): Promise<T> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await work((server.address() as AddressInfo).port);
  } finally {
    server.close();
  }
}

describe('a port that was asked for', () => {
  it('is given when it is free', async () => {
    const port = await freePort();
    expect(await fixedPort(port, 'Temporal')).toBe(port);
  });

  it('and is taken is named, with the one who wants it', () =>
    taken(async (port) => {
      const words = `wants port ${port} of 127.0.0.1, and it is taken (or may not be opened by this user): stop what listens there`;
      await expect(fixedPort(port, 'etcd')).rejects.toThrow(`etcd ${words}`);
      await expect(startTemporal({ folder: '/nowhere', port })).rejects.toThrow(`Temporal ${words}`);
      await expect(startTemporal({ folder: '/nowhere', uiPort: port })).rejects.toThrow(`Temporal's UI ${words}`);
    }));

  it.each([0, 65_536, 1.5, Number.NaN])('and cannot be one is refused: %s', async (port) => {
    await expect(fixedPort(port, 'Temporal')).rejects.toThrow(
      `Temporal cannot use port ${port}: choose one from 1 to 65535`,
    );
  });
});

describe('the health endpoints', () => {
  it('say what is missing, and when nothing is', async () => {
    const readiness = new Readiness();
    const since = new Date('2026-03-01T10:00:00Z');
    readiness.lacks('Temporal', 'nobody listens there', since);
    readiness.lacks('Temporal', 'it has no namespace fleet', new Date());
    const port = await freePort();
    const server = await serveHealth(port, readiness, new Metrics(readiness).registry);
    const ask = async (path: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      return [answer.status, await answer.text()];
    };
    try {
      expect(await ask('/healthz')).toEqual([200, 'ok\n']);
      expect(await ask('/readyz?verbose')).toEqual([
        503,
        'not ready\nTemporal, since 2026-03-01T10:00:00.000Z: it has no namespace fleet\n',
      ]);
      expect(readiness.has('Temporal')).toBeGreaterThan(0);
      expect(await ask('/readyz')).toEqual([200, 'ready\n']);
      expect((await ask('/'))[0]).toBe(404);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});
