import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { LabelSelector } from '../../api/types.ts';
import { matches } from '../../policy/selector.ts';

const LABELS = { zone: 'a', 'kairos.io/managed': 'true', empty: '' };
type Expression = NonNullable<LabelSelector['matchExpressions']>[number];
const expression = (key: string, operator: Expression['operator'], ...values: string[]): LabelSelector => ({
  matchExpressions: [{ key, operator, ...(values.length === 0 ? {} : { values }) }],
});

describe('a selector', () => {
  it.each<[string, LabelSelector | undefined]>([
    ['that is absent', undefined],
    ['that is empty', {}],
    ['with empty lists', { matchLabels: {}, matchExpressions: [] }],
    ['with equal labels', { matchLabels: { zone: 'a', 'kairos.io/managed': 'true' } }],
    ['with an empty value', { matchLabels: { empty: '' } }],
    ['In one of several', expression('zone', 'In', 'b', 'a')],
    ['NotIn others', expression('zone', 'NotIn', 'b', 'c')],
    ['NotIn, of a label that is not there', expression('disk', 'NotIn', 'ssd')],
    ['Exists', expression('zone', 'Exists')],
    ['Exists, with an empty value', expression('empty', 'Exists')],
    ['DoesNotExist', expression('disk', 'DoesNotExist')],
    ['DoesNotExist, of a label named like a property of every object', expression('constructor', 'DoesNotExist')],
  ])('%s takes the node', (_, selector) => {
    expect(matches(selector, LABELS)).toBe(true);
  });

  it.each<[string, LabelSelector]>([
    ['with another value', { matchLabels: { zone: 'b' } }],
    ['with a label that is not there', { matchLabels: { zone: 'a', disk: 'ssd' } }],
    ['with an empty value for a label that is not there', { matchLabels: { disk: '' } }],
    ['In others', expression('zone', 'In', 'b')],
    ['In, of a label that is not there', expression('disk', 'In', 'ssd')],
    ['In nothing', expression('zone', 'In')],
    ['NotIn, with its value', expression('zone', 'NotIn', 'a', 'b')],
    ['Exists, of a label that is not there', expression('disk', 'Exists')],
    ['Exists, of a label named like a property of every object', expression('constructor', 'Exists')],
    ['DoesNotExist, of a label that is there', expression('zone', 'DoesNotExist')],
    ['of which one requirement of two fails', { matchLabels: { zone: 'a' }, ...expression('zone', 'NotIn', 'a') }],
  ])('%s leaves the node', (_, selector) => {
    expect(matches(selector, LABELS)).toBe(false);
  });

  it('takes a node or its opposite does', () => {
    const word = fc.constantFrom('a', 'b', 'c', 'toString');
    fc.assert(
      fc.property(fc.dictionary(word, word), word, fc.array(word, { minLength: 1 }), (labels, key, values) => {
        expect(matches(expression(key, 'In', ...values), labels)).toBe(
          !matches(expression(key, 'NotIn', ...values), labels),
        );
        expect(matches(expression(key, 'Exists'), labels)).toBe(!matches(expression(key, 'DoesNotExist'), labels));
      }),
    );
  });
});
