import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Connection } from '@temporalio/client';
import { freePort } from '../../sim/ports.ts';
import { managedProcess, type ManagedProcess } from '../../sim/processes.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { containerOf, HELM_BUILD_MS, PROFILES, render, type Container } from './chart.ts';

const DAY_SECONDS = 86_400;

let folder: string;
let container: Container;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-chart-temporal-'));
  mkdirSync(path.join(folder, 'bin'));
  mkdirSync(path.join(folder, 'data'));
  symlinkSync(await resolveTool('temporal'), path.join(folder, 'bin', 'temporal'));
  const values = { ...PROFILES['embedded'], embeddedTemporal: { retention: '45d' } };
  container = containerOf(await render(values), 'kairos-temporal');
}, HELM_BUILD_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The container's own command, with the folder and the ports of this machine in the place of the pod's. */
async function describeServer(bin: string): Promise<{ address: string; process: ManagedProcess }> {
  const [port, uiPort] = [await freePort(), await freePort()];
  const address = `127.0.0.1:${port}`;
  const here = (text: string) =>
    text
      .replaceAll('/data/', `${folder}/data/`)
      .replaceAll('7233', String(port))
      .replaceAll('8233', String(uiPort))
      .replace('--ip=0.0.0.0', '--ip=127.0.0.1');
  const env = (container.env ?? []).map(({ name, value = '' }) => [name, here(value)]);
  const [command = '', ...flags] = container.command ?? [];
  return {
    address,
    process: managedProcess({
      name: 'temporal',
      command,
      args: [...flags, ...(container.args ?? []).map(here)],
      env: { PATH: `${bin}:/usr/bin:/bin`, ...(Object.fromEntries(env) as Record<string, string>) },
      cwd: folder,
      logFile: path.join(folder, 'logs', 'temporal.log'),
      ready: async () => (await retentionSeconds(address)) === 45 * DAY_SECONDS,
    }),
  };
}

async function withConnection<T>(address: string, ask: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address, connectTimeout: 1_000 });
  try {
    return await ask(connection);
  } finally {
    await connection.close();
  }
}

const retentionSeconds = (address: string) =>
  withConnection(address, async ({ workflowService }) => {
    const { config } = await workflowService.describeNamespace({ namespace: 'default' });
    return Number(config?.workflowExecutionRetentionTtl?.seconds);
  });

describe('the command of the embedded Temporal', () => {
  it('starts the real server on a database named by its version, sets the retention, and takes both up again', async () => {
    const { address, process } = await describeServer(path.join(folder, 'bin'));
    const probe = container['readinessProbe'] as { grpc: { service: string } };
    try {
      for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
        await process.start();
        const { status } = await withConnection(address, ({ healthService }) =>
          healthService.check({ service: probe.grpc.service }),
        );
        // grpc.health.v1: SERVING, which is what the kubelet's probe wants.
        expect(status).toBe(1);
        expect(readdirSync(path.join(folder, 'data'))).toContain('temporal-1.31.2.db');
        await process.kill(signal);
      }
    } finally {
      await process.stop();
    }
    expect(readdirSync(path.join(folder, 'data')).filter((name) => name.endsWith('.db'))).toEqual([
      'temporal-1.31.2.db',
    ]);
  }, 60_000);

  it('ends with a word on an image that is not that of the CLI', async () => {
    const bin = path.join(folder, 'other');
    mkdirSync(bin);
    writeFileSync(path.join(bin, 'temporal'), '#!/bin/sh\necho temporal-server 1.31.2\n');
    chmodSync(path.join(bin, 'temporal'), 0o755);
    const { process } = await describeServer(bin);
    await expect(process.start()).rejects.toThrow(/names no server version: use an image of the Temporal CLI/);
    expect(readFileSync(process.logFile, 'utf8')).toContain('use an image of the Temporal CLI');
  });
});
