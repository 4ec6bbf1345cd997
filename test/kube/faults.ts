/** What is asked of the API server, as far as its faults differ. */
export type Asked = 'list' | 'watch' | 'get' | 'write';

const ANYWHERE = ['401', '429', '500', '502', '503', '504', 'redirect', 'reset before', 'stall before'] as const;
const ANSWERED = ['login page', 'reset after', 'cut answer', 'stall after'] as const;
const CALL_FAULTS = {
  // Lists are rare beside calls, and these two are what matters with them.
  list: [...ANYWHERE, ...ANSWERED, '410', '410', 'old list', 'old list', 'old list'],
  get: [...ANYWHERE, ...ANSWERED],
  // `late`: carried out only after the client has given up.
  write: [...ANYWHERE, ...ANSWERED, '409', 'late'],
  watch: [...ANYWHERE, '410'],
} as const;
const WATCH_FAULTS = [
  'end',
  'cut',
  'half-close',
  'truncated line',
  'broken line',
  'silent',
  'repeat',
  'replay',
  'ERROR 410',
  'ERROR 500',
  'malformed',
] as const;

export type CallFault = (typeof CALL_FAULTS)[Asked][number];
export type WatchFault = (typeof WATCH_FAULTS)[number];

/**
 * Which faults happen. One seed gives each kind of request the same sequence of faults; how the requests of a run come
 * to interleave is not repeatable.
 */
export class Faults {
  readonly seed: number;
  /** Share of requests that meet a fault; watches meet three times as many. 0: the network is sound. */
  rate = 0;
  readonly #counts = new Map<string, number>();
  readonly #random = new Map<string, () => number>();

  constructor(seed: number) {
    this.seed = seed;
  }

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** How often each fault was done, most frequent first. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.#counts].toSorted(([, a], [, b]) => b - a));
  }

  count(fault: string): void {
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
  }

  forCall(asked: Asked): CallFault | undefined {
    if (this.random(asked) >= this.rate) return undefined;
    return this.pick(asked, CALL_FAULTS[asked]);
  }

  /** For a watch that was opened well. */
  forWatch(): WatchFault | undefined {
    if (this.random('watched') >= this.rate * 3) return undefined;
    return this.pick('watched', WATCH_FAULTS);
  }

  pick<T>(sequence: string, from: readonly T[]): T | undefined {
    return from[Math.floor(this.random(sequence) * from.length)];
  }

  /** In [0, 1). Each named sequence is its own. */
  random(sequence: string): number {
    const next = this.#random.get(sequence) ?? mulberry32(this.seed + hash(sequence));
    this.#random.set(sequence, next);
    return next();
  }
}

function hash(text: string): number {
  return Buffer.from(text).reduce((sum, byte) => Math.imul(sum, 31) + byte, 7);
}

function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
