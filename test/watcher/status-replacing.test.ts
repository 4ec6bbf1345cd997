import { expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { replacing } from '../../watcher/status-writer.ts';
import { merge } from './merge-patch.ts';

const leaf = fc.oneof(fc.integer(), fc.string(), fc.array(fc.integer()));
const key = fc.constantFrom('a', 'b', 'c', 'd');
const { tree } = fc.letrec<{ tree: Record<string, unknown> }>((tie) => ({
  tree: fc.dictionary(key, fc.oneof({ depthSize: 'small' }, leaf, tie('tree')), { maxKeys: 4 }),
}));

it('a status that is merged is what was written, whatever was there: what it says nothing about stays', () => {
  fc.assert(
    fc.property(tree, tree, (known, now) => {
      expect(merge(known, replacing(known, now))).toEqual({ ...known, ...now });
    }),
  );
});

it('a field that is not there any more is taken away', () => {
  const known = { eta: { at: 'x' }, nodeStatuses: { a: { phase: 'Running', message: 'm' }, b: { phase: 'Failed' } } };
  const now = { eta: undefined, nodeStatuses: { a: { phase: 'Completed' } } };
  expect(replacing(known, now)).toEqual({
    eta: null,
    nodeStatuses: { a: { phase: 'Completed', message: null }, b: null },
  });
});
