import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { KeyedQueue } from '../../watcher/keyed-queue.ts';

/** Work that ends when it is told to. */
class Work {
  readonly started: string[] = [];
  readonly #open = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();

  readonly run = (key: string): Promise<void> => {
    this.started.push(key);
    return new Promise((resolve, reject) => this.#open.set(key, { resolve, reject }));
  };

  async end(key: string, error?: Error): Promise<void> {
    const open = this.#open.get(key);
    if (error === undefined) open?.resolve();
    else open?.reject(error);
    await jest.advanceTimersByTimeAsync(0);
  }
}

describe('a queue by key', () => {
  let work: Work;
  let failures: string[];
  let stop: AbortController;
  let queue: KeyedQueue;
  beforeEach(() => {
    jest.useFakeTimers();
    work = new Work();
    failures = [];
    stop = new AbortController();
    const onFailure = (key: string, error: unknown) => failures.push(`${key}: ${(error as Error).message}`);
    queue = new KeyedQueue(work.run, onFailure, stop.signal);
  });
  afterEach(() => {
    stop.abort();
    jest.useRealTimers();
  });

  it('runs different keys side by side, and one key once at a time', () => {
    queue.add('a');
    queue.add('b');
    queue.add('a');
    expect(work.started).toEqual(['a', 'b']);
  });

  it('makes one more run of many changes during a run', async () => {
    for (const _ of [1, 2, 3]) queue.add('a');
    await work.end('a');
    expect(work.started).toEqual(['a', 'a']);
    await work.end('a');
    expect(work.started).toEqual(['a', 'a']);
  });

  it('runs a key again that is added after its run', async () => {
    queue.add('a');
    await work.end('a');
    queue.add('a');
    expect(work.started).toEqual(['a', 'a']);
  });

  it('repeats a failed run, later and later, up to half a minute', async () => {
    queue.add('a');
    const waits: number[] = [];
    for (let n = 1; n <= 9; n += 1) {
      await work.end('a', new Error(`no ${n}`));
      const from = Date.now();
      while (work.started.length === n && Date.now() - from < 60_000) await jest.advanceTimersByTimeAsync(25);
      waits.push(Date.now() - from);
    }
    expect(failures).toHaveLength(9);
    expect(failures[0]).toBe('a: no 1');
    waits.forEach((wait, n) => {
      const nominal = Math.min(30_000, 500 * 2 ** n);
      expect(wait).toBeGreaterThanOrEqual(nominal * 0.75);
      expect(wait).toBeLessThanOrEqual(nominal * 1.25 + 25);
    });
  });

  it('begins with the short delay again after a success', async () => {
    queue.add('a');
    for (let n = 1; n <= 5; n += 1) {
      await work.end('a', new Error('no'));
      await jest.advanceTimersByTimeAsync(40_000);
    }
    await work.end('a');
    queue.add('a');
    await work.end('a', new Error('no'));
    const before = work.started.length;
    await jest.advanceTimersByTimeAsync(650);
    expect(work.started).toHaveLength(before + 1);
  });

  it('repeats a failed run at once for what must not wait, and later and later after that', async () => {
    queue.add('a');
    for (let n = 1; n <= 5; n += 1) {
      await work.end('a', new Error('no'));
      await jest.advanceTimersByTimeAsync(40_000);
    }
    await work.end('a', new Error('no'));
    queue.add('a');
    await jest.advanceTimersByTimeAsync(5_000);
    expect(work.started).toHaveLength(6);
    queue.addNow('a');
    await jest.advanceTimersByTimeAsync(0);
    expect(work.started).toHaveLength(7);
    await work.end('a', new Error('no'));
    await jest.advanceTimersByTimeAsync(650);
    expect(work.started).toHaveLength(8);
  });

  it('does not let one failing key hold another', async () => {
    queue.add('a');
    await work.end('a', new Error('no'));
    queue.add('b');
    await work.end('b');
    queue.add('b');
    expect(work.started).toEqual(['a', 'b', 'b']);
  });

  it('starts nothing more once it is stopped, and does not report what failed because of it', async () => {
    queue.add('a');
    queue.add('a');
    stop.abort();
    await work.end('a', new Error('stopped'));
    await jest.advanceTimersByTimeAsync(60_000);
    queue.add('b');
    expect(work.started).toEqual(['a']);
    expect(failures).toEqual([]);
  });

  it('ends a wait for the next try when it is stopped', async () => {
    queue.add('a');
    await work.end('a', new Error('no'));
    expect(jest.getTimerCount()).toBe(1);
    stop.abort();
    await jest.advanceTimersByTimeAsync(0);
    expect(jest.getTimerCount()).toBe(0);
    expect(work.started).toEqual(['a']);
  });
});
