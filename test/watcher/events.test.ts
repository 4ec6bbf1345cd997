import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { KubeError } from '../../kube/errors.ts';
import { Telling, type Told } from '../../watcher/telling.ts';

const failure = (reason: string, retryable: boolean) =>
  new KubeError(`create events: ${reason}`, { verb: 'create', path: '/events', reason, retryable });

/** What an API server has been told, and how it answers. */
class Server {
  readonly created: string[] = [];
  readonly repeated: { reason: string; count: number | undefined }[] = [];
  readonly logged: object[] = [];
  existing = new Set<string>();
  failures: KubeError[] = [];
  readonly stop = new AbortController();
  readonly telling = new Telling({
    create: (told) =>
      this.#answer(() => {
        const name = `${told.about.uid}/${told.notice.reason}/${told.notice.key}`;
        if (this.existing.has(name)) return true;
        this.existing.add(name);
        this.created.push(name);
        return false;
      }),
    repeat: ({ notice: { reason } }, count) => this.#answer(() => void this.repeated.push({ reason, count })),
    log: { debug: () => undefined, info: (fields) => void this.logged.push(fields) },
    signal: this.stop.signal,
  });

  #answer<T>(act: () => T): Promise<T> {
    const error = this.failures.shift();
    return error === undefined ? Promise.resolve(act()) : Promise.reject(error);
  }
}

const told = (uid: string, key: string, type: 'Normal' | 'Warning' = 'Normal'): Told => ({
  about: { apiVersion: 'kairos.io/v1alpha1', kind: 'KairosNode', name: uid, uid },
  notice: { type, reason: type === 'Normal' ? 'Drained' : 'Lost', key, message: 'm' },
});
const MINUTE_MS = 60_000;
const settle = () => jest.advanceTimersByTimeAsync(0);

describe('Events', () => {
  let server: Server;
  beforeEach(() => {
    jest.useFakeTimers();
    server = new Server();
  });
  afterEach(() => {
    server.stop.abort();
    jest.useRealTimers();
  });

  it('are written once, however often the same is told', async () => {
    for (let n = 0; n < 3; n += 1) server.telling.tell(told('a', '1'));
    await settle();
    server.telling.tell(told('a', '1'));
    server.telling.tell(told('a', '2'));
    await settle();
    expect(server.created).toEqual(['a/Drained/1', 'a/Drained/2']);
    expect(server.repeated).toEqual([]);
  });

  it('count what happens again, at most every few minutes', async () => {
    server.telling.tell(told('a', '1'));
    await settle();
    for (let n = 0; n < 9; n += 1) server.telling.tell(told('a', '1'));
    await jest.advanceTimersByTimeAsync(6 * MINUTE_MS);
    server.telling.tell(told('a', '1'));
    await settle();
    expect(server.repeated).toEqual([{ reason: 'Drained', count: 11 }]);
  });

  it('of a watcher before are found, not repeated; their count is left as it is', async () => {
    server.existing.add('a/Drained/1');
    server.telling.tell(told('a', '1'));
    await jest.advanceTimersByTimeAsync(6 * MINUTE_MS);
    expect(server.created).toEqual([]);
    server.telling.tell(told('a', '1'));
    await settle();
    expect(server.repeated).toEqual([{ reason: 'Drained', count: undefined }]);
  });

  it('that have expired are written anew', async () => {
    server.telling.tell(told('a', '1'));
    await jest.advanceTimersByTimeAsync(6 * MINUTE_MS);
    server.existing.clear();
    server.failures = [failure('NotFound', false)];
    server.telling.tell(told('a', '1'));
    await settle();
    expect(server.created).toEqual(['a/Drained/1', 'a/Drained/1']);
  });

  it('are tried again where the API server was away, and left out where it refuses', async () => {
    server.failures = [failure('Unreachable', true), failure('Unreachable', true)];
    server.telling.tell(told('a', '1'));
    await jest.advanceTimersByTimeAsync(3_000);
    expect(server.created).toEqual(['a/Drained/1']);
    server.failures = [failure('Forbidden', false)];
    server.telling.tell(told('a', '2'));
    server.telling.tell(told('a', '3'));
    await settle();
    expect(server.created).toEqual(['a/Drained/1', 'a/Drained/3']);
  });

  it('of a thousand nodes at once: a bounded rate, Warnings before Normal ones, and the log says how many are left out', async () => {
    for (let n = 0; n < 1000; n += 1) server.telling.tell(told(`n${n}`, '1'));
    for (let n = 0; n < 500; n += 1) server.telling.tell(told(`n${n}`, '1', 'Warning'));
    await settle();
    expect(server.created.length).toBeLessThanOrEqual(101);
    await jest.advanceTimersByTimeAsync(10_000);
    expect(server.created.length).toBeLessThanOrEqual(202);
    await jest.advanceTimersByTimeAsync(5 * MINUTE_MS);
    const warnings = server.created.filter((name) => name.includes('/Lost/'));
    expect(warnings).toHaveLength(500);
    expect(server.logged).toEqual([{ dropped: 1500 - server.created.length }]);
  });

  it('of one object are bounded, whatever it does', async () => {
    for (let n = 0; n < 100; n += 1) server.telling.tell(told('a', `${n}`, 'Warning'));
    await jest.advanceTimersByTimeAsync(MINUTE_MS);
    expect(server.created).toHaveLength(30);
    await jest.advanceTimersByTimeAsync(61 * MINUTE_MS);
    server.telling.tell(told('a', 'later', 'Warning'));
    await settle();
    expect(server.created.at(-1)).toBe('a/Lost/later');
  });

  it('end with the Lease', async () => {
    server.telling.tell(told('a', '1'));
    server.stop.abort();
    server.telling.tell(told('a', '2'));
    await settle();
    expect(server.created.length).toBeLessThanOrEqual(1);
    expect(server.created).not.toContain('a/Drained/2');
  });
});
