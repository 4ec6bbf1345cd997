import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { parseStamp } from '../../agent/stamp.ts';
import { kairosNodeAgentStatus } from '../../api/schemas/kairos-node.ts';

const STAMP = { image: 'registry/hadron:v2', digest: 'sha256:abc', rollout: 'rollout/c/ns/n', sourceBootID: 'b-1' };

describe('a stamp', () => {
  const read = (text: string) => {
    const left: string[] = [];
    return { stamp: parseStamp(text, left), left };
  };

  it('is the JSON object that the upgrade wrote', () => {
    expect(read(`${JSON.stringify(STAMP)}\n`)).toEqual({ stamp: STAMP, left: [] });
  });

  it('keeps what it can of one from a later or an earlier operator', () => {
    expect(read('{"sourceBootID":"b-1","other":{"a":[1]}}')).toEqual({ stamp: { sourceBootID: 'b-1' }, left: [] });
  });

  // Still a stamp: without one, the version alone would be taken for proof.
  it.each([
    ['no JSON', 'image=registry/hadron:v2'],
    ['half written', '{"image":"registry/hadron:v2","digest":"sha2'],
    ['empty', ''],
    ['an array', '["image"]'],
    ['null', 'null'],
    ['a number', '7'],
    ['nested deeper than any stack', '['.repeat(60_000)],
    ['binary', randomBytes(60_000).toString('utf8')],
  ])('that is %s says nothing, and that is said', (_, text) => {
    const { stamp, left } = read(text);
    expect(stamp).toEqual({});
    expect(left).toEqual([expect.stringContaining('the stamp')]);
  });

  it.each([
    ['too long', { digest: 'd'.repeat(301) }, 'digest'],
    ['longer than a boot id', { sourceBootID: 'b'.repeat(65) }, 'sourceBootID'],
    ['empty', { image: '' }, 'image'],
    ['no text', { rollout: 7 }, 'rollout'],
    ['null', { rollout: null }, 'rollout'],
    ['of control characters', { image: 'a\u001b[31mb' }, 'image'],
    ['half a character', { image: 'a\ud800' }, 'image'],
  ])('loses a field that is %s, and that is said', (_, change, key) => {
    const { [key]: _lost, ...rest } = { ...STAMP, ...change } as Record<string, unknown>;
    expect(read(JSON.stringify({ ...STAMP, ...change }))).toEqual({
      stamp: rest,
      left: [expect.stringContaining(key)],
    });
  });

  it('is one that the resource holds, whatever the file holds', () => {
    const schema = kairosNodeAgentStatus.shape.stamp;
    const field = fc.oneof(fc.string({ maxLength: 1200 }), fc.jsonValue());
    const object = fc.dictionary(fc.constantFrom('digest', 'image', 'rollout', 'sourceBootID', '__proto__'), field);
    fc.assert(
      fc.property(
        object.map((value) => JSON.stringify(value)),
        (text) => {
          expect(schema.safeParse(read(text).stamp).success).toBe(true);
        },
      ),
    );
  });
});
