import { describe, expect, it } from '@jest/globals';
import type { NodeOpUpgradeSpec, Strategy } from '../../api/types.ts';
import { mergeStrategy } from '../../policy/strategy-defaults.ts';
import { resolveSpec } from '../../policy/strategy.ts';

describe('the defaults of an installation', () => {
  it.each<[string, Strategy, Omit<NodeOpUpgradeSpec, 'image'>, Strategy]>([
    ['hold where nothing is named', { soak: '5m' }, {}, { soak: '5m' }],
    [
      'give way to what is named',
      { soak: '5m', gateTimeout: '2h' },
      { strategy: { soak: '1m' } },
      { soak: '1m', gateTimeout: '2h' },
    ],
    [
      'give way field by field, inside of fields, too',
      { drain: { timeout: '20m', force: true } },
      { strategy: { drain: { force: false } } },
      { drain: { timeout: '20m', force: false } },
    ],
    [
      'give way as a whole where they are lists',
      { waves: [{ name: 'a', nodes: 1 }, { name: 'b' }] },
      { strategy: { waves: [{ name: 'c' }] } },
      { waves: [{ name: 'c' }] },
    ],
    [
      'give way as a whole where they are selectors',
      { drain: { podSelector: { matchLabels: { a: '1' } } } },
      { strategy: { drain: { podSelector: { matchLabels: { b: '2' } } } } },
      { drain: { podSelector: { matchLabels: { b: '2' } } } },
    ],
    [
      'give way to concurrency, which names the same',
      { maxUnavailable: 5, soak: '5m' },
      { concurrency: 2 },
      { soak: '5m' },
    ],
    [
      'give way to stopOnFailure, which names the same as maxFailed',
      { maxFailed: '50%', soak: '5m' },
      { stopOnFailure: true },
      { soak: '5m' },
    ],
    ['stay where stopOnFailure says nothing', { maxFailed: 3 }, {}, { maxFailed: 3 }],
    ['stay where concurrency says nothing', { maxUnavailable: 5 }, { concurrency: 0 }, { maxUnavailable: 5 }],
  ])('%s', (_, defaults, spec, merged) => {
    const before = structuredClone(defaults);
    expect(mergeStrategy(defaults, { image: 'i', ...spec })).toEqual(merged);
    expect(defaults).toEqual(before);
  });

  it('are what a rollout is started with, over those of this version', () => {
    const defaults: Strategy = { maxUnavailable: 5, windows: [{ cron: '0 22 * * *', duration: '2h' }] };
    expect(resolveSpec({ image: 'i', strategy: { soak: '1m' } }, defaults)).toMatchObject({
      maxUnavailable: 5,
      soakMs: 60_000,
      gateTimeoutMs: 3_600_000,
      windows: [{ cron: '0 22 * * *', durationMs: 7_200_000, timeZone: 'UTC' }],
    });
    expect(resolveSpec({ image: 'i', concurrency: 2 }, defaults)).toMatchObject({ maxUnavailable: 2 });
    expect(resolveSpec({ image: 'i' })).not.toHaveProperty('windows');
  });
});
