import { Cron } from 'croner';
import type { WindowSpec } from '../api/rollout-spec.ts';

/** A time without a break in which at least one window is open. */
export interface Span {
  opensAtMs: number;
  closesAtMs: number;
}

/** Where a node that takes a while finds its time. */
export type Fit =
  /** Now. */
  | { fits: 'now' }
  /** Not before the window that opens then. `closesAtMs`: of the one that is open, and too short by now. */
  | { fits: 'later'; opensAtMs: number; closesAtMs?: number }
  /** In none, as far as can be seen; or no window opens any more. */
  | { fits: 'never'; longestMs: number };

/** How far is looked for a window: each day and weekday of the year comes in it. */
const AHEAD_MS = 366 * 24 * 3_600_000;
/** Windows that follow each other without a break: beyond so many it counts as open for as long as was seen. */
const CHAINED = 500;
/**
 * Windows that are looked at, one after the other, for one that is long enough: nearly three years of one each night. Of
 * those that come each hour or minute the first ones speak for all: to find each one takes a millisecond, in which this
 * worker does nothing else.
 */
const MOST_SPANS = 1_000;
/** Calendars that are kept, for rollouts that run at a time. */
const KEPT = 50;

interface Opener {
  cron: Cron;
  durationMs: number;
}

const opener = ({ cron, timeZone, durationMs }: WindowSpec): Opener => ({
  cron: new Cron(cron, { timezone: timeZone, paused: true }),
  durationMs,
});

/** The first time after `afterMs` that this window opens. */
const opening = ({ cron }: Opener, afterMs: number) => cron.nextRun(new Date(afterMs))?.getTime();

/** Until when what is open at `atMs` by this window stays so, or undefined: it is closed then. */
function closing({ cron, durationMs }: Opener, atMs: number): number | undefined {
  const last = cron.previousRuns(1, new Date(atMs + 1))[0]?.getTime();
  return last === undefined || last + durationMs <= atMs ? undefined : last + durationMs;
}

const latest = (times: readonly (number | undefined)[]) => Math.max(...times.map((time) => time ?? -Infinity));
const earliest = (times: readonly (number | undefined)[]) => Math.min(...times.map((time) => time ?? Infinity));

/** The span that is open at `opensAtMs`, in which it begins or which it cuts. */
function spanAt(openers: readonly Opener[], opensAtMs: number): Span {
  let closesAtMs = opensAtMs;
  for (let chained = 0; chained < CHAINED; chained++) {
    const later = latest(openers.map((window) => closing(window, closesAtMs)));
    if (later <= closesAtMs) break;
    closesAtMs = later;
  }
  return { opensAtMs, closesAtMs };
}

/** When the union of the windows is open, from `fromMs` on, in its order; a span that is open then begins there. */
function* spansFrom(openers: readonly Opener[], fromMs: number): Generator<Span, undefined> {
  let atMs = fromMs;
  const now = spanAt(openers, fromMs);
  if (now.closesAtMs > fromMs) {
    yield now;
    atMs = now.closesAtMs;
  }
  for (;;) {
    // One millisecond before: a window that opens just as another one closes is found, too.
    const next = earliest(openers.map((window) => opening(window, atMs - 1)));
    if (next - fromMs > AHEAD_MS) return undefined;
    const span = spanAt(openers, next);
    yield span;
    atMs = span.closesAtMs;
  }
}

/** The windows of a rollout, with what was worked out of them: asked at each gate, many times a second. */
class Calendar {
  readonly #openers: Opener[];
  #spans: Span[] = [];
  #more: Iterator<Span, undefined> | undefined;
  #askedMs = Infinity;

  constructor(windows: readonly WindowSpec[]) {
    this.#openers = windows.map(opener);
  }

  /** The span of this number, counted from the first that closes after `nowMs`. */
  span(index: number, nowMs: number): Span | undefined {
    while (this.#spans[0] !== undefined && this.#spans[0].closesAtMs <= nowMs) this.#spans.shift();
    // A clock that was set back, a list that is used up, or one that ends where a year was over.
    if (nowMs < this.#askedMs || this.#spans.length === 0) {
      this.#spans = [];
      this.#more = spansFrom(this.#openers, nowMs);
    }
    this.#askedMs = nowMs;
    while (this.#spans.length <= index) {
      const next = this.#more?.next();
      if (next === undefined || next.done === true) return undefined;
      this.#spans.push(next.value);
    }
    return this.#spans[index];
  }

  /** The spans from a time in the past on. */
  from(fromMs: number): Generator<Span, undefined> {
    return spansFrom(this.#openers, fromMs);
  }
}

const calendars = new Map<string, Calendar>();

function calendarOf(windows: readonly WindowSpec[]): Calendar {
  const key = JSON.stringify(windows);
  const known = calendars.get(key);
  if (known !== undefined) return known;
  const calendar = new Calendar(windows);
  calendars.set(key, calendar);
  const [oldest] = calendars.keys();
  if (calendars.size > KEPT && oldest !== undefined) calendars.delete(oldest);
  return calendar;
}

/** Whether nodes may be started now. Without windows: always. */
export function isOpen(windows: readonly WindowSpec[], nowMs: number): boolean {
  return windows.length === 0 || (calendarOf(windows).span(0, nowMs)?.opensAtMs ?? Infinity) <= nowMs;
}

/** When the union of the windows opens next, in milliseconds; undefined while it is open, and where it never does. */
export function nextOpening(windows: readonly WindowSpec[], nowMs: number): number | undefined {
  return isOpen(windows, nowMs) ? undefined : calendarOf(windows).span(0, nowMs)?.opensAtMs;
}

/**
 * When the union of the windows closes that is open now, in milliseconds: undefined while it is closed, and without
 * windows. Of windows that follow each other for ever it is a time up to which it surely stays open.
 */
export function closesAt(windows: readonly WindowSpec[], nowMs: number): number | undefined {
  return windows.length === 0 || !isOpen(windows, nowMs) ? undefined : calendarOf(windows).span(0, nowMs)?.closesAtMs;
}

/** Where something that takes `needMs` without a break fits in: it must end before the window closes in which it begins. */
export function fitInto(windows: readonly WindowSpec[], nowMs: number, needMs: number): Fit {
  if (windows.length === 0) return { fits: 'now' };
  const calendar = calendarOf(windows);
  let longestMs = 0;
  for (let index = 0; ; index++) {
    const span = index < MOST_SPANS ? calendar.span(index, nowMs) : undefined;
    if (span === undefined || span.opensAtMs - nowMs > AHEAD_MS) return { fits: 'never', longestMs };
    const from = Math.max(nowMs, span.opensAtMs);
    longestMs = Math.max(longestMs, span.closesAtMs - span.opensAtMs);
    if (from + needMs > span.closesAtMs) continue;
    if (span.opensAtMs <= nowMs) return { fits: 'now' };
    const closesAtMs = closesAt(windows, nowMs);
    return { fits: 'later', opensAtMs: span.opensAtMs, ...(closesAtMs === undefined ? {} : { closesAtMs }) };
  }
}

/** How much of a time that has passed counts for a deadline: that in which something that takes `needMs` could begin. */
export function openMs(windows: readonly WindowSpec[], fromMs: number, toMs: number, needMs: number): number {
  if (windows.length === 0) return Math.max(0, toMs - fromMs);
  let sum = 0;
  for (const { opensAtMs, closesAtMs } of calendarOf(windows).from(fromMs)) {
    if (opensAtMs >= toMs) break;
    sum += Math.max(0, Math.min(toMs, closesAtMs - needMs) - Math.max(fromMs, opensAtMs));
  }
  return sum;
}

/**
 * What is wrong with a window that the API server could not see, as a sentence that says what to write; undefined where
 * nothing is.
 */
export function windowMistake(windows: readonly WindowSpec[], nowMs: number): string | undefined {
  for (const [index, window] of windows.entries()) {
    const field = `strategy.windows[${index}]`;
    if (!isTimeZone(window.timeZone))
      return `${field}.timeZone: there is no time zone ${window.timeZone}: write its name in the IANA database, such as Europe/Berlin or UTC`;
    try {
      const opensAtMs = opening(opener(window), nowMs);
      if (opensAtMs === undefined)
        return `${field}.cron: "${window.cron}" never comes, so no node would ever be started: write a day that its month has`;
      if (windows.length === 1 && opensAtMs - nowMs > AHEAD_MS)
        return `${field}.cron: "${window.cron}" does not come within a year: write a day that each year has`;
    } catch (error) {
      const said = (error as Error).message.replace(/^CronPattern: /, '');
      return `${field}.cron: "${window.cron}" cannot be read (${said}): write minute hour day month weekday, such as "0 22 * * MON-FRI"`;
    }
  }
  return undefined;
}

function isTimeZone(name: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
