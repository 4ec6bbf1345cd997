import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { WindowSpec } from '../../api/rollout-spec.ts';
import { closesAt, fitInto, isOpen, nextOpening, openMs, windowMistake } from '../../policy/windows.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const at = (time: string) => Date.parse(time);
const text = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString().slice(0, 16));

/** `'0 22 * * FRI 2h Europe/Berlin'` */
function window(written: string): WindowSpec {
  const words = written.split(' ');
  const hours = Number.parseFloat(words[5] ?? '');
  return { cron: words.slice(0, 5).join(' '), durationMs: hours * HOUR, timeZone: words[6] ?? 'UTC' };
}
const windows = (...written: string[]) => written.map(window);

describe('windows', () => {
  it.each<[string, string[], string, boolean, string | undefined, string | undefined]>([
    ['without any it is always open', [], '2026-03-02T12:00', true, undefined, undefined],
    ['before it opens', ['0 22 * * * 2h'], '2026-03-02T21:59:59.999', false, '2026-03-02T22:00', undefined],
    ['at the moment when it opens', ['0 22 * * * 2h'], '2026-03-02T22:00', true, undefined, '2026-03-03T00:00'],
    ['in its last moment', ['0 22 * * * 2h'], '2026-03-02T23:59:59.999', true, undefined, '2026-03-03T00:00'],
    ['at the moment when it closes', ['0 22 * * * 2h'], '2026-03-03T00:00', false, '2026-03-03T22:00', undefined],
    [
      'over midnight it is of the day on which it opens',
      ['0 22 * * FRI 6h'],
      '2026-03-07T03:00',
      true,
      undefined,
      '2026-03-07T04:00',
    ],
    [
      'and not of the day on which it closes',
      ['0 22 * * FRI 6h'],
      '2026-03-06T03:00',
      false,
      '2026-03-06T22:00',
      undefined,
    ],
    ['over the end of a month', ['0 20 L * * 12h'], '2026-04-01T05:00', true, undefined, '2026-04-01T08:00'],
    ['the second Tuesday of a month', ['0 3 * * TUE#2 3h'], '2026-03-03T04:00', false, '2026-03-10T03:00', undefined],
    [
      'of several the one that is open',
      ['0 22 * * * 1h', '0 12 * * SUN 6h'],
      '2026-03-08T13:00',
      true,
      undefined,
      '2026-03-08T18:00',
    ],
    [
      'of several the next one',
      ['0 22 * * * 1h', '0 12 * * SUN 6h'],
      '2026-03-08T11:00',
      false,
      '2026-03-08T12:00',
      undefined,
    ],
    [
      'two that overlap are one',
      ['0 20 * * * 3h', '0 22 * * * 4h'],
      '2026-03-02T21:00',
      true,
      undefined,
      '2026-03-03T02:00',
    ],
    [
      'two that touch are one',
      ['0 20 * * * 2h', '0 22 * * * 2h'],
      '2026-03-02T21:00',
      true,
      undefined,
      '2026-03-03T00:00',
    ],
    [
      'a time zone is that of cron',
      ['0 22 * * * 2h Asia/Tokyo'],
      '2026-03-02T13:30',
      true,
      undefined,
      '2026-03-02T15:00',
    ],
    [
      'and half hours of it, too',
      ['0 22 * * * 2h Asia/Kolkata'],
      '2026-03-02T16:00',
      false,
      '2026-03-02T16:30',
      undefined,
    ],
  ])('%s', (_, written, now, ...[open, opens, closes]) => {
    const nowMs = at(`${now}Z`);
    expect(isOpen(windows(...written), nowMs)).toBe(open);
    expect(text(nextOpening(windows(...written), nowMs))).toEqual(opens);
    expect(text(closesAt(windows(...written), nowMs))).toEqual(closes);
  });
});

it('windows longer than their distance count as open for as long as anybody looks ahead', () => {
  const nowMs = at('2026-03-02T01:00Z');
  expect(closesAt([window('0 0 * * * 30h')], nowMs)).toBeGreaterThan(nowMs + 366 * 24 * HOUR);
});

it('a clock that is set back, after windows have been looked at, is believed', () => {
  const nightly = windows('0 22 * * * 2h');
  expect(isOpen(nightly, at('2026-03-02T21:00Z'))).toBe(false);
  expect(isOpen(nightly, at('2026-03-04T22:00Z'))).toBe(true);
  expect(isOpen(nightly, at('2026-03-03T22:30Z'))).toBe(true);
  expect(text(nextOpening(nightly, at('2026-03-02T21:30Z')))).toBe('2026-03-02T22:00');
});

describe('where clocks are put forward, a time that they leave out', () => {
  it.each<[string, string, string, string]>([
    [
      'begins when they have been put forward, in Berlin',
      '30 2 * * * 1h Europe/Berlin',
      '2026-03-29T01:00',
      '2026-03-29T02:00',
    ],
    [
      'begins when they have been put forward, in New York',
      '30 2 * * * 1h America/New_York',
      '2026-03-08T07:00',
      '2026-03-08T08:00',
    ],
    [
      'begins then, too, where it is half an hour',
      '15 2 * * * 1h Australia/Lord_Howe',
      '2026-10-03T15:30',
      '2026-10-03T16:30',
    ],
    [
      'does not shorten a window that lies over it',
      '0 1 * * * 3h Europe/Berlin',
      '2026-03-29T00:00',
      '2026-03-29T03:00',
    ],
  ])('%s', (_, written, opens, closes) => {
    const [opensMs, closesMs] = [at(`${opens}Z`), at(`${closes}Z`)];
    expect(isOpen([window(written)], opensMs - 1)).toBe(false);
    expect(isOpen([window(written)], opensMs)).toBe(true);
    expect(closesAt([window(written)], opensMs)).toBe(closesMs);
    expect(isOpen([window(written)], closesMs)).toBe(false);
  });
});

describe('where clocks are put back, an hour that they show twice', () => {
  it.each<[string, string, string, string, string]>([
    [
      'opens a window the first time only, in Berlin',
      '30 2 * * * 1h Europe/Berlin',
      '2026-10-25T00:30',
      '2026-10-25T01:30',
      '2026-10-26T01:30',
    ],
    [
      'opens a window the first time only, in New York',
      '30 1 * * * 1h America/New_York',
      '2026-11-01T05:30',
      '2026-11-01T06:30',
      '2026-11-02T06:30',
    ],
    [
      'does not lengthen a window that lies over it, in Berlin',
      '0 1 * * * 3h Europe/Berlin',
      '2026-10-24T23:00',
      '2026-10-25T02:00',
      '2026-10-26T00:00',
    ],
    [
      'does not lengthen a window that lies over it, in New York',
      '0 0 * * * 3h America/New_York',
      '2026-11-01T04:00',
      '2026-11-01T07:00',
      '2026-11-02T05:00',
    ],
  ])('%s', (_, written, opens, closes, again) => {
    const [opensMs, closesMs] = [at(`${opens}Z`), at(`${closes}Z`)];
    expect(isOpen([window(written)], opensMs - 1)).toBe(false);
    expect(closesAt([window(written)], opensMs)).toBe(closesMs);
    expect(text(nextOpening([window(written)], closesMs))).toBe(again);
  });
});

describe('a node that takes a while', () => {
  const nightly = windows('0 22 * * * 2h');
  it.each<[string, WindowSpec[], string, number, object]>([
    ['fits in where nothing is said', [], '2026-03-02T12:00', 99 * HOUR, { fits: 'now' }],
    ['fits into a window that has just opened', nightly, '2026-03-02T22:00', 2 * HOUR, { fits: 'now' }],
    ['and to its last moment', nightly, '2026-03-02T23:30', 30 * MINUTE, { fits: 'now' }],
    [
      'does not where it would last longer',
      nightly,
      '2026-03-02T23:30',
      31 * MINUTE,
      { fits: 'later', opensAtMs: at('2026-03-03T22:00Z'), closesAtMs: at('2026-03-03T00:00Z') },
    ],
    [
      'waits for the next window',
      nightly,
      '2026-03-02T12:00',
      HOUR,
      { fits: 'later', opensAtMs: at('2026-03-02T22:00Z') },
    ],
    [
      'waits for one that is long enough',
      windows('0 22 * * * 2h', '0 12 * * SUN 6h'),
      '2026-03-02T22:00',
      4 * HOUR,
      { fits: 'later', opensAtMs: at('2026-03-08T12:00Z'), closesAtMs: at('2026-03-03T00:00Z') },
    ],
    ['fits into none', nightly, '2026-03-02T22:00', 3 * HOUR, { fits: 'never', longestMs: 2 * HOUR }],
    [
      'fits into none where none comes',
      windows('0 0 30 2 * 2h'),
      '2026-03-02T22:00',
      0,
      { fits: 'never', longestMs: 0 },
    ],
    [
      'fits into a day of every four years only when that is near',
      windows('0 0 29 2 * 2h'),
      '2026-03-02T22:00',
      0,
      { fits: 'never', longestMs: 0 },
    ],
  ])('%s', (_, given, now, needMs, fit) => {
    expect(fitInto(given, at(`${now}Z`), needMs)).toEqual(fit);
  });
});

describe('what counts for a deadline', () => {
  it.each<[string, string[], string, string, number, number]>([
    ['everything, without windows', [], '2026-03-02T00:00', '2026-03-05T00:00', 0, 72],
    ['the windows', ['0 22 * * * 2h'], '2026-03-02T00:00', '2026-03-05T00:00', 0, 6],
    ['the part of one', ['0 22 * * * 2h'], '2026-03-02T23:00', '2026-03-03T22:30', 0, 1.5],
    ['of each what lets a node begin', ['0 22 * * * 2h'], '2026-03-02T00:00', '2026-03-05T00:00', 0.5, 4.5],
    ['nothing while they are closed', ['0 22 * * * 2h'], '2026-03-02T00:00', '2026-03-02T22:00', 0, 0],
    ['nothing where a node never fits in', ['0 22 * * * 2h'], '2026-03-02T00:00', '2026-03-05T00:00', 3, 0],
  ])('%s', (_, written, from, to, ...[need, hours]) => {
    expect(openMs(windows(...written), at(`${from}Z`), at(`${to}Z`), need * HOUR)).toBe(hours * HOUR);
  });
});

describe('whatever the windows are', () => {
  const minute = fc.integer({ min: 0, max: 59 });
  const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu');
  const day = fc.constantFrom('*', 'MON-FRI', 'SUN', 'SAT,SUN');
  const one = fc
    .record({
      minute,
      hour: fc.integer({ min: 0, max: 23 }),
      day,
      hours: fc.integer({ min: 1, max: 60 }),
      timeZone: zone,
    })
    .map(({ minute, hour, day, hours, timeZone }) => ({
      cron: `${minute} ${hour} * * ${day}`,
      durationMs: hours * HOUR,
      timeZone,
    }));
  const moment = fc
    .integer({ min: at('2026-01-01T00:00Z') / MINUTE, max: at('2027-01-01T00:00Z') / MINUTE })
    .map((minutes) => minutes * MINUTE);

  it('the union is open exactly while one of them is', () => {
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 3 }), moment, (given, nowMs) => {
        expect(isOpen(given, nowMs)).toBe(given.some((alone) => isOpen([alone], nowMs)));
      }),
      { numRuns: 60 },
    );
  });

  it('they are closed up to the next opening and open from there on, and open up to their close', () => {
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 2 }), moment, (given, nowMs) => {
        const opensMs = nextOpening(given, nowMs);
        const closesMs = closesAt(given, nowMs);
        expect(opensMs === undefined).toBe(closesMs !== undefined);
        if (opensMs !== undefined) {
          expect(isOpen(given, opensMs)).toBe(true);
          expect(isOpen(given, opensMs - 1)).toBe(false);
          expect(isOpen(given, (nowMs + opensMs - 1) / 2)).toBe(false);
        }
        if (closesMs !== undefined) expect(isOpen(given, (nowMs + closesMs - 1) / 2)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('what fits now ends before they close, and what fits later begins when they open and are open for long enough', () => {
    fc.assert(
      fc.property(
        fc.array(one, { minLength: 1, maxLength: 2 }),
        moment,
        fc.integer({ min: 1, max: 300 }),
        (given, nowMs, minutes) => {
          const needMs = minutes * MINUTE;
          const fit = fitInto(given, nowMs, needMs);
          if (fit.fits === 'never') return;
          const beginMs = fit.fits === 'now' ? nowMs : fit.opensAtMs;
          expect((closesAt(given, beginMs) ?? 0) - beginMs).toBeGreaterThanOrEqual(needMs);
          if (fit.fits === 'later') expect(isOpen(given, beginMs - 1)).toBe(false);
        },
      ),
      { numRuns: 60 },
    );
  });
});

it('a node that is longer than windows which come each minute is told so without a look at a year of them', () => {
  const nowMs = at('2026-03-02T12:00Z');
  const startedMs = performance.now();
  const each = [{ cron: '* * * * *', durationMs: 30_000, timeZone: 'Europe/Berlin' }];
  expect(fitInto(each, nowMs, 10 * MINUTE)).toEqual({ fits: 'never', longestMs: 30_000 });
  expect(performance.now() - startedMs).toBeLessThan(20_000);
});

describe('a window that the API server could not see to be wrong', () => {
  const now = at('2026-03-02T12:00Z');
  it.each<[string, Partial<WindowSpec>, RegExp]>([
    [
      'a time zone that is none',
      { timeZone: 'Europe/Nowhere' },
      /^strategy\.windows\[1\]\.timeZone: there is no time zone Europe\/Nowhere: write/,
    ],
    [
      'a minute that is none',
      { cron: '61 22 * * *' },
      /^strategy\.windows\[1\]\.cron: "61 22 \* \* \*" cannot be read \(Invalid value for minute: 61\): write minute hour/,
    ],
    ['a weekday that is none', { cron: '0 22 * * FOO' }, /cannot be read/],
    ['a step of nothing', { cron: '*/0 22 * * *' }, /cannot be read/],
    ['a day that never comes', { cron: '0 22 31 2 *' }, /"0 22 31 2 \*" never comes, so no node would ever be started/],
  ])('%s is named with what to write', (_, wrong, said) => {
    expect(windowMistake([window('0 22 * * * 2h'), { ...window('0 22 * * * 2h'), ...wrong }], now)).toMatch(said);
  });

  it('that does not come within a year is one where no other window opens', () => {
    expect(windowMistake(windows('0 3 29 2 * 1h'), now)).toMatch(/"0 3 29 2 \*" does not come within a year/);
  });

  it('is not found where all is well', () => {
    expect(
      windowMistake(windows('0 22 * * MON-FRI 2h Europe/Berlin', '*/15 3 L * * 1h', '0 3 29 2 * 1h'), now),
    ).toBeUndefined();
    expect(windowMistake([], now)).toBeUndefined();
  });
});
