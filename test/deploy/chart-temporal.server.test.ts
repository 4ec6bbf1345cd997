import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client, Connection } from '@temporalio/client';
import { resolveTool } from '../../tools/resolve.ts';
import { HELM_BUILD_MS, PROFILES, render, type Manifest } from './chart.ts';
import { EmbeddedTemporal } from './embedded-temporal.ts';

const DATABASE = 'temporal-1.31.2.db';

let objects: Manifest[];
let temporal: EmbeddedTemporal;

beforeAll(async () => {
  await resolveTool('helm');
  objects = await render({ ...PROFILES['embedded'], embeddedTemporal: { retention: '45d' } });
  temporal = await EmbeddedTemporal.open(objects);
}, HELM_BUILD_MS);

afterAll(() => temporal?.close());

const data = (...names: string[]) => path.join(temporal.folder, 'data', ...names);
const start = ({ workflow }: Client, workflowId: string) =>
  workflow.start('nobodyRunsIt', { workflowId, taskQueue: 'nobody', args: ['x'.repeat(2_000)] });
const isThere = (workflowId: string) =>
  temporal.withClient(async ({ workflow }) =>
    workflow
      .getHandle(workflowId)
      .describe()
      .then(
        () => true,
        () => false,
      ),
  );

describe('the command of the embedded Temporal', () => {
  it('starts the real server on a database named by its version, sets the retention, and takes both up again', async () => {
    const probe = temporal.container['readinessProbe'] as { grpc: { service: string } };
    for (const [index, signal] of (['SIGKILL', 'SIGTERM'] as const).entries()) {
      await temporal.server.start();
      await temporal.withClient(async (client) => {
        const { status } = await (client.connection as Connection).healthService.check({ service: probe.grpc.service });
        // grpc.health.v1: SERVING, which is what the kubelet's probe wants.
        expect(status).toBe(1);
        await start(client, `before-${index}`);
      });
      await temporal.server.kill(signal);
    }
    await temporal.server.start();
    expect([await isThere('before-0'), await isThere('before-1'), await isThere('never')]).toEqual([true, true, false]);
    expect(readdirSync(data()).filter((name) => name.endsWith('.db'))).toEqual([DATABASE]);
  }, 60_000);

  it('takes the search attributes that the watcher adds when it starts', async () => {
    await temporal.withClient(async (client) => {
      const { operatorService } = client.connection as Connection;
      // 2: a keyword.
      const request = { namespace: 'default', searchAttributes: { KairosNode: 2 } };
      await operatorService.addSearchAttributes(request);
      const { customAttributes } = await operatorService.listSearchAttributes({ namespace: 'default' });
      expect(Object.keys(customAttributes)).toContain('KairosNode');
    });
  });

  it('ends with a word on an image that is not that of the CLI', async () => {
    const other = await EmbeddedTemporal.open(objects, (folder) => {
      const bin = path.join(folder, 'other');
      mkdirSync(bin);
      writeFileSync(path.join(bin, 'temporal'), '#!/bin/sh\necho temporal-server 1.31.2\n');
      chmodSync(path.join(bin, 'temporal'), 0o755);
      return bin;
    });
    try {
      await expect(other.server.start()).rejects.toThrow(/names no server version: use an image of the Temporal CLI/);
    } finally {
      await other.close();
    }
  });
});

describe('a backup of the embedded Temporal', () => {
  let unpacked: string;

  beforeAll(async () => {
    unpacked = mkdtempSync(path.join(tmpdir(), 'kairos-backups-'));
    await temporal.server.start();
  });
  afterAll(() => rmSync(unpacked, { recursive: true, force: true }));

  it('is whole while the server writes, and holds all that was acknowledged before', async () => {
    let acknowledged = 0;
    const ended = new AbortController();
    const writer = temporal.withClient(async (client) => {
      while (!ended.signal.aborted) {
        await start(client, `load-${acknowledged}`);
        acknowledged += 1;
      }
    });
    const backups: { before: number; tar: Buffer }[] = [];
    try {
      while (backups.length < 8) {
        const before = acknowledged;
        const backup = await temporal.exec('backup.sh');
        expect(backup).toMatchObject({ code: 0, stderr: '' });
        backups.push({ before, tar: backup.stdout });
      }
    } finally {
      ended.abort();
      await writer;
    }
    expect(acknowledged).toBeGreaterThan(backups[0]?.before ?? 0);
    expect(readdirSync(data()).filter((name) => name.startsWith('backup'))).toEqual([]);

    for (const [index, { before, tar }] of backups.entries()) {
      const folder = path.join(unpacked, String(index));
      mkdirSync(folder);
      execFileSync('tar', ['-x', '-f', '-', '-C', folder], { input: tar });
      const database = new DatabaseSync(path.join(folder, DATABASE));
      expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
      const { started } = database
        .prepare(`SELECT count(*) AS started FROM current_executions WHERE workflow_id LIKE 'load-%'`)
        .get() as { started: number };
      expect(started).toBeGreaterThanOrEqual(before);
      database.close();
    }
  }, 120_000);

  it('is restored by the next start of the pod; the former database is kept', async () => {
    await temporal.withClient((client) => start(client, 'in-the-backup'));
    const backup = await temporal.exec('backup.sh');
    expect(backup).toMatchObject({ code: 0, stderr: '' });
    await temporal.withClient((client) => start(client, 'later'));

    const restored = await temporal.exec('restore.sh', backup.stdout);
    expect({ code: restored.code, text: restored.stdout.toString() }).toEqual({
      code: 0,
      text: `restore/${DATABASE} will be used from the next start of the pod on\n`,
    });
    expect(await isThere('later')).toBe(true);
    await temporal.server.stop();
    await temporal.server.start();
    expect([await isThere('in-the-backup'), await isThere('later')]).toEqual([true, false]);
    expect(readFileSync(temporal.server.logFile, 'utf8')).toContain(`restored ${DATABASE}; the former one is in`);
    expect(readdirSync(data('before-restore'))).toContain(DATABASE);
    expect(existsSync(data('restore'))).toBe(false);
  }, 60_000);

  it('that is none is refused, and one of another version is left alone', async () => {
    const refused = await temporal.exec('restore.sh', Buffer.from('not a tar'));
    expect(refused.code).toBe(1);
    expect(existsSync(data('restore'))).toBe(false);

    mkdirSync(data('restore'));
    writeFileSync(data('restore', 'temporal-1.30.0.db'), '');
    await temporal.server.stop();
    await temporal.server.start();
    expect(readFileSync(temporal.server.logFile, 'utf8')).toContain(
      `restore holds temporal-1.30.0.db and not ${DATABASE}: nothing is restored`,
    );
    expect(await isThere('in-the-backup')).toBe(true);
  }, 60_000);

  it('is not made of a database that is not there', async () => {
    const other = await EmbeddedTemporal.open(objects);
    try {
      const { code, stdout, stderr } = await other.exec('backup.sh');
      expect({ code, bytes: stdout.length, stderr }).toEqual({
        code: 1,
        bytes: 0,
        stderr: expect.stringMatching(/there is no .*-wal: does the server run\?/) as unknown,
      });
    } finally {
      await other.close();
    }
  });
});
