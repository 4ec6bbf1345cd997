import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { strategyMistakes } from '../../process/strategy-check.ts';
import { readStrategyDefaults } from '../../process/strategy-defaults.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-defaults-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fileOf(text: string): string {
  const file = path.join(folder, 'strategy.yaml');
  writeFileSync(file, text);
  return file;
}

const ALL = `
maxUnavailable: 25%
windows:
  - { cron: '0 22 * * MON-FRI', duration: 4h, timeZone: Europe/Berlin }
waves:
  - { name: canary, nodes: 1, soak: 10m }
  - { name: rest }
healthGates:
  - name: database
    workloads: { kind: StatefulSet, namespace: db, selector: { matchLabels: { app: pg } } }
  - name: alerts
    prometheus: { url: http://prometheus.monitoring:9090, alerts: { selector: severity="critical" } }
    interval: 30s
soakChecks: { ignorePods: { matchLabels: { app: batch } } }
drain: { timeout: 20m, onTimeout: Delete, forceDeleteAfter: 5m }
gateTimeout: 2h
`;

describe('a strategy', () => {
  it.each<[string, unknown, string]>([
    [
      'a field that is not there',
      { maxUnavailabel: 1 },
      'maxUnavailabel: there is no such field: write one of maxUnavailable, ',
    ],
    [
      'a field that is not there, deep inside',
      { drain: { timout: '1m' } },
      'drain.timout: there is no such field: write one of timeout, ',
    ],
    [
      'one in a list',
      { windows: [{ cron: '0 22 * * *', duration: '1h', tz: 'UTC' }] },
      'windows[0].tz: there is no such field',
    ],
    ['a duration', { soak: '2 weeks' }, 'soak: write a duration such as 30s, 15m or 1h30m'],
    ['a type', { prePull: { ahead: 'two' } }, 'prePull.ahead: '],
    ['something that is no strategy', ['soak'], 'the whole: '],
    ['a budget of nothing', { maxUnavailable: 0 }, 'maxUnavailable: write a whole number of at least 1'],
    ['a percentage of too much', { maxUnavailable: '150%' }, 'maxUnavailable: write a whole number of at least 1'],
    [
      'two times that do not go together',
      { drain: { timeout: '5m', onTimeout: 'Delete', forceDeleteAfter: '10m' } },
      'drain: forceDeleteAfter must be shorter than timeout (default 15m)',
    ],
    [
      'a time against a default',
      { drain: { onTimeout: 'Delete', forceDeleteAfter: '16m' } },
      'drain: forceDeleteAfter must be shorter',
    ],
    [
      'two waves that take the rest',
      { waves: [{ name: 'a' }, { name: 'b' }] },
      'waves: a wave without nodes and nodeSelector takes all nodes that are left, so only the last one can be such',
    ],
    ['two of one name', { waves: [{ name: 'a', nodes: 1 }, { name: 'a' }] }, 'waves: two entries have the name a'],
    [
      'a window of no time',
      { windows: [{ cron: '0 22 * * *', duration: '0s' }] },
      'windows[0]: a window is open for more than 0s',
    ],
    ['a gate that asks nothing', { healthGates: [{ name: 'a' }] }, 'healthGates[0]: a health gate asks one thing'],
    [
      'a gate that asks two things',
      { healthGates: [{ name: 'a', nodes: {}, prometheus: { url: 'http://p', alerts: {} } }] },
      'healthGates[0]: a health gate asks one thing',
    ],
    [
      'a selector of nothing',
      { soakChecks: { ignorePods: {} } },
      'soakChecks.ignorePods: an empty selector would ignore every pod',
    ],
  ])('is refused for %s, by field and with what to write', (_, given, said) => {
    expect(strategyMistakes(given)).toEqual([expect.stringContaining(said)]);
  });

  it('is taken where all is well', () => {
    expect(strategyMistakes({})).toEqual([]);
    expect(readStrategyDefaults(fileOf(ALL))).toMatchObject({ gateTimeout: '2h', waves: [{ name: 'canary' }, {}] });
  });
});

describe('a file of defaults', () => {
  it('that is empty has none', () => {
    expect(readStrategyDefaults(fileOf('# nothing yet\n'))).toEqual({});
  });

  it.each<[string, () => string, RegExp]>([
    [
      'is not there',
      () => path.join(folder, 'none.yaml'),
      /^defaults of spec\.strategy, .*none\.yaml: cannot be read: ENOENT/,
    ],
    ['is no YAML', () => fileOf('a: [1'), /strategy\.yaml: cannot be read: /],
    [
      'has mistakes',
      () => fileOf('soak: never\ngateTimeout: 5'),
      /strategy\.yaml: soak: write a duration .*; gateTimeout: .*; the file is of the form of spec\.strategy/,
    ],
  ])('that %s is refused, by its name', (_, file, said) => {
    expect(() => readStrategyDefaults(file())).toThrow(said);
  });
});
