import { describe, expect, it } from '@jest/globals';
import { takenFromUs } from '../../policy/ownership.ts';

const OURS = 'node/kairos-c/uid-1';

describe('a node in hand', () => {
  it.each([
    { owner: OURS, unschedulable: true, cordoned: true },
    { owner: OURS, unschedulable: false, cordoned: false },
    { owner: OURS, unschedulable: true, cordoned: false },
  ])('is ours to go on with: %j', ({ cordoned, ...node }) => {
    expect(takenFromUs({ name: 'n-1', ...node }, OURS, cordoned)).toBeUndefined();
  });

  it.each([
    [{ unschedulable: true }, true, /^node n-1 carries no mark in place of node\/kairos-c\/uid-1: .*left as it is$/],
    [{ owner: 'held:Lost', unschedulable: true }, true, /carries the mark held:Lost/],
    [{ unschedulable: false }, false, /carries no mark/],
    [{ owner: OURS, unschedulable: false }, true, /^somebody uncordoned node n-1 .*kairos\.io\/retry/],
  ])('was taken from us: %j', (node, cordoned, reason) => {
    expect(takenFromUs({ name: 'n-1', ...node }, OURS, cordoned)).toMatch(reason);
  });
});
