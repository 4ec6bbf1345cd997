import { describe, expect, it } from '@jest/globals';
import { readDemoOptions } from '../../sim/demo/options.ts';

const upgrade = { kind: 'upgrade' };

describe('the options of the demo', () => {
  it.each([
    ['12 nodes by default', {}, { controlPlane: 3, workers: 9, keep: false, story: upgrade }],
    ['one control-plane node below four', { NODES: '3' }, { controlPlane: 1, workers: 2, keep: false, story: upgrade }],
    ['one node', { NODES: '1', KEEP: '1' }, { controlPlane: 1, workers: 0, keep: true, story: upgrade }],
  ])('are %s', (_what, env, options) => {
    expect(readDemoOptions(env)).toEqual(options);
  });

  it.each([
    [
      { CHAOS: '1', SEED: '42' },
      { kind: 'chaos', seed: 42 },
    ],
    [
      { CHAOS: '1', SEED: '0', BAD_IMAGE: '0' },
      { kind: 'chaos', seed: 0 },
    ],
    [{ BAD_IMAGE: '1' }, { kind: 'bad-image', mend: false }],
    [
      { BAD_IMAGE: 'mend', CHAOS: '0' },
      { kind: 'bad-image', mend: true },
    ],
    [{ CHAOS: '', BAD_IMAGE: '', SEED: '', KEEP: '0' }, upgrade],
  ])('read %j', (env, story) => {
    expect(readDemoOptions(env).story).toEqual(story);
  });

  it('take the nodes of a scenario from the scenario', () => {
    const { controlPlane, workers, keep, story } = readDemoOptions({ SCENARIO: 'single-node', KEEP: '1', CHAOS: '0' });
    expect([controlPlane, workers, keep]).toEqual([1, 0, true]);
    expect(story).toMatchObject({ kind: 'scenario', scenario: { name: 'single-node' } });
  });

  it('choose a seed where none is given', () => {
    const { story } = readDemoOptions({ CHAOS: '1' });
    expect(story.kind === 'chaos' && Number.isInteger(story.seed)).toBe(true);
  });

  it.each([
    [{ NODES: '0' }, /^NODES=0: write a whole number from 1 to 1000, such as NODES=12$/],
    [{ NODES: 'many' }, /^NODES=many: write a whole number/],
    [{ NODES: '2.5' }, /^NODES=2\.5: write a whole number/],
    [{ NODES: '1001' }, /^NODES=1001: write a whole number/],
    [{ NODES: '-1' }, /^NODES=-1: write a whole number/],
    [{ KEEP: 'yes' }, /^KEEP=yes: write KEEP=1 .*leave it out$/],
    [{ CHAOS: 'maybe' }, /^CHAOS=maybe: write CHAOS=1 .*leave it out$/],
    [{ BAD_IMAGE: 'yes' }, /^BAD_IMAGE=yes: write BAD_IMAGE=1 .* or BAD_IMAGE=mend .*leave it out$/],
    [{ BAD_IMAGE: 'toString' }, /^BAD_IMAGE=toString: write BAD_IMAGE=1 /],
    [{ CHAOS: '1', SEED: 'abc' }, /^SEED=abc: write a whole number from 0 to 4294967295, such as SEED=7$/],
    [{ CHAOS: '1', SEED: '4294967296' }, /^SEED=4294967296: write a whole number/],
    [{ SEED: '7' }, /^SEED=7 .*write CHAOS=1 SEED=7$/],
    [{ SCENARIO: 'nothing' }, /^SCENARIO=nothing: write one of canary-failure, .*single-node$/],
    [
      { SCENARIO: 'single-node', NODES: '3' },
      /^NODES=3: a scenario has nodes and troubles of its own: leave NODES out$/,
    ],
    [{ SCENARIO: 'single-node', CHAOS: '1' }, /^CHAOS=1: .*leave CHAOS out$/],
    [{ CHAOS: '1', BAD_IMAGE: '1' }, /^CHAOS and BAD_IMAGE are two demos: write one of them$/],
  ])('refuse %j and say what to write', (env, message) => {
    expect(() => readDemoOptions(env)).toThrow(message);
  });
});
