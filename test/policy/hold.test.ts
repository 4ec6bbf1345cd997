import { describe, expect, it } from '@jest/globals';
import { holdLost, type HeldNode } from '../../policy/hold.ts';

const OURS: HeldNode = { name: 'n-1', owner: 'node/c/1', unschedulable: true };

describe('a node that we cordoned', () => {
  it.each<[string, HeldNode, RegExp | undefined]>([
    ['is ours', OURS, undefined],
    [
      'was uncordoned',
      { ...OURS, unschedulable: false },
      /^somebody uncordoned node n-1 while it was drained: its image was not touched, and the node stays in service$/,
    ],
    [
      'lost its mark',
      { name: 'n-1', unschedulable: true },
      /^the mark kairos\.io\/upgrade-owner of node n-1 is gone, taken by somebody while it was drained: .* left as it is$/,
    ],
    ['lost both', { name: 'n-1', unschedulable: false }, /^the mark .* is gone/],
    ['is held', { ...OURS, owner: 'held:Lost' }, /now names held:Lost/],
  ])('%s', (_, node, expected) => {
    const lost = holdLost(node, 'node/c/1', 'it was drained');
    if (expected === undefined) expect(lost).toBeUndefined();
    else expect(lost).toMatch(expected);
  });
});
