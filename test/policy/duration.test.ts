import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { duration } from '../../api/schemas/meta.ts';
import { formatDuration, parseDurationMs } from '../../policy/duration.ts';

describe('a duration', () => {
  it.each([
    ['0s', 0],
    ['30s', 30_000],
    ['90s', 90_000],
    ['15m', 900_000],
    ['1h30m', 5_400_000],
    ['1h5s', 3_605_000],
    ['01h02m03s', 3_723_000],
    ['48h', 172_800_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDurationMs(text)).toBe(ms);
  });

  it.each(['', '5', 'h', '5 m', '1.5h', '-5m', '5m1h', '5ms', '5d', '1h 30m', '5M', '5m\n', 'PT5M'])(
    '%j is refused with a text that says what to write',
    (text) => {
      expect(() => parseDurationMs(text)).toThrow(RangeError);
      expect(() => parseDurationMs(text)).toThrow(/90s, 15m or 1h30m/);
    },
  );

  it('that the resource accepts is understood, and nothing else is', () => {
    const parts = fc.tuple(
      fc.constantFrom('', '7h', '100h'),
      fc.constantFrom('', '5m', '99999m'),
      fc.constantFrom('', '9s'),
    );
    const near = fc.oneof(
      parts.map((all) => all.join('')),
      fc.stringMatching(/^[0-9hms ]{0,8}$/),
    );
    const parses = (text: string) => {
      try {
        return Number.isSafeInteger(parseDurationMs(text));
      } catch {
        return false;
      }
    };
    const bounded = (text: string) => !/\d{6}/.test(text);
    fc.assert(
      fc.property(near.filter(bounded), (text) => expect(parses(text)).toBe(duration().safeParse(text).success)),
    );
  });
});

describe('a length of time', () => {
  it.each([
    [0, '0s'],
    [400, '0s'],
    [600, '1s'],
    [42_000, '42s'],
    [59_499, '59s'],
    [59_500, '1m00s'],
    [185_000, '3m05s'],
    [3_599_499, '59m59s'],
    [3_599_500, '1h00m'],
    [3_720_000, '1h02m'],
    [172_800_000, '48h00m'],
    [-5_000, '0s'],
  ])('of %i ms reads %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it('reads back as itself: to the second below an hour, to the minute above', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 * 3600 }), (seconds) => {
        const back = parseDurationMs(formatDuration(seconds * 1000)) / 1000;
        expect(back).toBe(seconds < 3600 ? seconds : seconds - (seconds % 60));
      }),
    );
  });
});
