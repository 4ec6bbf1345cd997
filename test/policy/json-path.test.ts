import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { asText, valuesAt } from '../../policy/json-path.ts';

const OBJECT = {
  metadata: { name: 'a', labels: { 'app.kubernetes.io/name': 'db', tier: 'gold', 'a.b': 'c' } },
  spec: { replicas: 3, paused: false, template: null },
  status: {
    phase: 'Running',
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'Degraded', status: 'False', count: 2, on: true, of: { kind: 'x' } },
    ],
    members: [[1, 2], [3]],
  },
};

describe('a path into an object', () => {
  it.each<[string, unknown[]]>([
    ['.status.phase', ['Running']],
    ['{.status.phase}', ['Running']],
    ['.spec.replicas', [3]],
    ['.spec.paused', [false]],
    ['.spec.template', [null]],
    ['.status.conditions[0].status', ['True']],
    ['.status.conditions[*].type', ['Ready', 'Degraded']],
    ['.status.conditions[?(@.type=="Degraded")].status', ['False']],
    ['.status.conditions[?(@.count==2)].type', ['Degraded']],
    ['.status.conditions[?(@.on==true)].type', ['Degraded']],
    ['.status.conditions[?(@.of.kind=="x")].type', ['Degraded']],
    ['.status.conditions[?(@.type=="None")].status', []],
    ['.status.members[0][1]', [2]],
    ['.metadata.labels["app.kubernetes.io/name"]', ['db']],
    ['.metadata.labels.tier', ['gold']],
    ['.metadata.labels.a\\.b', ['c']],
    ['.status.conditions[7].status', []],
    ['.status.nothing.at.all', []],
    ['.status.phase.length', []],
    ['.status.conditions.length', []],
    ['.constructor', []],
    ['.metadata["__proto__"]', []],
  ])('%s', (path, values) => {
    expect(valuesAt(path, OBJECT)).toEqual(values);
  });

  it.each(['status', '.', '.a[', '.a[?(@.b)]', '.a..b', '$.a', '.a[-1]', '.a[1:2]'])('is not read: %s', (path) => {
    expect(() => valuesAt(path, OBJECT)).toThrow(SyntaxError);
  });

  it('leads to the very value that is there', () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,8}$/);
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), fc.jsonValue(), (names, value) => {
        const object = names.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
        expect(valuesAt(names.map((key) => `.${key}`).join(''), object)).toEqual([value]);
        expect(valuesAt(names.map((key) => `["${key}"]`).join(''), object)).toEqual([value]);
      }),
    );
  });
});

it.each<[unknown, string]>([
  ['True', 'True'],
  [3, '3'],
  [true, 'true'],
  [null, 'null'],
  [{ a: 1 }, '{"a":1}'],
])('%p is written as %s', (value, written) => {
  expect(asText(value)).toBe(written);
});
