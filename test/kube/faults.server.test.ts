import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { until } from './fake-api-server.ts';
import { type Rig, startRig } from './fault-rig.ts';
import { Storm, catchUpMs, outage } from './fault-storm.ts';
import { type Watchers, watchersOf } from './fault-watchers.ts';

const FAULTS = 400;
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9));

describe(`on a faulty network (SEED=${seed})`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kube-faults-'));
  let rig: Rig;
  let watchers: Watchers;
  beforeAll(async () => {
    rig = await startRig(folder, seed);
    watchers = watchersOf(rig, 2);
    await watchers.synced();
  }, 120_000);
  afterAll(async () => {
    watchers?.stop();
    await rig?.stop();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it(`goes on through ${FAULTS} faults, does nothing twice, and knows the truth when they end`, async () => {
    const storm = new Storm(rig, 'storm');
    await storm.start();
    await storm.until(FAULTS, 60_000);
    await storm.end();
    await catchUpMs(watchers, 5000);
    expect(rig.problems).toEqual([]);
    expect(storm.leaseChanges).toBeGreaterThan(1);
    await until(() => rig.calls.open === 0 && rig.calls.listeners === 0);
  }, 120_000);

  it.each(['unreachable', 'frozen'] as const)(
    'notices that the API server is %s, and catches up',
    async (kind) => {
      await outage(rig, watchers, kind);
      expect(rig.problems).toEqual([]);
    },
    60_000,
  );
});
