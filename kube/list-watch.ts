import type { KubeClient, Query, WatchEvent } from './client.ts';
import { KubeError, isReason } from './errors.ts';
import { listAll } from './list.ts';
import { pause } from './pause.ts';
import { type RawObject, isOlder } from './raw-object.ts';
import type { Listed, ReflectorLog, ReflectorTimings } from './reflector-parts.ts';
import type { Sink } from './store.ts';

interface Options {
  client: KubeClient;
  path: string;
  query: Query;
  timings: ReflectorTimings;
  log: ReflectorLog | undefined;
  signal: AbortSignal;
  sink: Sink;
  /** What to go on from; undefined: list first. */
  listed?: Listed | undefined;
}

const SILENT = new Error('watch was silent');
const ENDED_AT_ONCE = { verb: 'watch', reason: 'EndedAtOnce', retryable: true };
const OLD_ANSWER = { verb: 'list', reason: 'OldAnswer', retryable: true };
/** Reasons after which the watch may go on from where it was; after any other everything is listed anew. */
const PLACE_KEPT = [
  ENDED_AT_ONCE.reason,
  OLD_ANSWER.reason,
  'Unreachable',
  'Timeout',
  'TooManyRequests',
  'ServerTimeout',
  'ServiceUnavailable',
  'Unauthorized',
];
/** Reasons that a healthy API server gives. 410: our place in its history is too old. */
const STILL_IN_CONTACT = [ENDED_AT_ONCE.reason, 'Expired', 'Gone'];

/**
 * The loop behind a reflector: list, then watch from there, for ever. A watch that ends or breaks is opened again from
 * the last version it delivered; what makes that impossible leads to a new list. It never goes back in history, whatever
 * old answers and repeated events something on the way may bring, unless the API server itself has gone back.
 */
export class ListWatch {
  /** Resolves after the first complete list; never rejects. */
  readonly listed: Promise<void>;
  readonly #o: Options;
  readonly #firstList = Promise.withResolvers<void>();
  /** Where to go on; undefined: list first. */
  #version: string | undefined;
  /** The latest version that was ever delivered; undefined when that history is not the server's any more. */
  #newest: string | undefined;
  /** The next list is the first one of another history. */
  #afresh = false;
  /** The last watch did not end by its own time: the API server that answers next may know another history. */
  #suspect = false;
  #failures = 0;
  #contactSince: number | undefined;
  #lastWord = 0;

  constructor(options: Options) {
    this.#o = options;
    this.listed = this.#firstList.promise;
    if (options.listed !== undefined) this.#goOnFrom(options.listed);
    void this.#run();
  }

  #goOnFrom({ objects, version }: Listed): void {
    const list = this.#o.sink.beginList(false);
    for (const object of objects) list.add(object);
    list.end();
    this.#newest = version;
    this.#version = version;
    this.#firstList.resolve();
  }

  contactMs(): number {
    return this.#contactSince === undefined ? 0 : this.#lastWord - this.#contactSince;
  }

  async #run(): Promise<void> {
    const { signal, log, path } = this.#o;
    while (!signal.aborted) {
      try {
        await this.#step();
      } catch (error) {
        if (signal.aborted) return;
        const retryMs = this.#failed(error);
        log?.warn({ path, retryMs, reason: String(error) }, 'watch failed; trying again');
        await pause(retryMs, signal);
      }
    }
  }

  async #step(): Promise<void> {
    if (this.#version !== undefined && this.#suspect) await this.#checkHistory(this.#version);
    if (this.#version === undefined) await this.#list();
    else await this.#watch(this.#version);
  }

  async #list(): Promise<void> {
    const { client, path, query, signal, sink } = this.#o;
    const list = sink.beginList(this.#afresh);
    const version = await listAll(client, path, query, (object) => list.add(object), signal);
    if (this.#newest !== undefined && isOlder(version, this.#newest)) {
      await this.#checkHistory(this.#newest);
      if (this.#newest !== undefined) throw oldAnswer(path, version, this.#newest);
      return; // Which history this list was of is not certain: the next one is.
    }
    this.#heard();
    list.end();
    this.#newest = version;
    this.#version = version;
    this.#suspect = false;
    this.#afresh = false;
    this.#firstList.resolve();
  }

  /**
   * A watch from a version that the server has not reached (its database was restored from a backup) is accepted and
   * stays silent. So before the place is used again the server is asked for its state at that version or later: it
   * waits a little for a version that it does not know, then says so.
   */
  async #checkHistory(version: string): Promise<void> {
    const { client, path, query, signal } = this.#o;
    try {
      const { metadata } = await client.request<{ metadata: { resourceVersion: string } }>({
        verb: 'list',
        path,
        query: { ...query, limit: 1, resourceVersion: version, resourceVersionMatch: 'NotOlderThan' },
        signal,
      });
      if (isOlder(metadata.resourceVersion, version)) throw oldAnswer(path, metadata.resourceVersion, version);
      this.#heard();
    } catch (error) {
      const isUnknown =
        error instanceof KubeError && error.causes.some(({ reason }) => reason === 'ResourceVersionTooLarge');
      if (!isUnknown) throw error;
      this.#version = undefined;
      this.#newest = undefined;
      this.#afresh = true;
    }
    this.#suspect = false;
  }

  async #watch(version: string): Promise<void> {
    const { client, path, query, signal, timings } = this.#o;
    const startedAt = performance.now();
    const silent = new AbortController();
    const timer = setTimeout(() => silent.abort(SILENT), timings.silenceMs);
    const stop = () => silent.abort(signal.reason);
    signal.addEventListener('abort', stop);
    const heard = () => {
      this.#heard();
      timer.refresh();
    };
    const seconds = Math.ceil(timings.watchSeconds * (0.8 + Math.random() * 0.4));
    try {
      await client.watch(
        path,
        { ...query, resourceVersion: version, allowWatchBookmarks: true, timeoutSeconds: seconds },
        (event) => {
          heard();
          this.#take(event);
        },
        silent.signal,
        heard,
      );
    } catch (error) {
      // Not even a bookmark: nothing proves that we were in contact. Opening the watch again shows what was missed.
      if (error !== SILENT) throw error;
      this.#contactSince = undefined;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
    // A server or proxy that accepts watches and ends them at once must not be asked in a tight loop.
    const lastedMs = performance.now() - startedAt;
    this.#suspect = lastedMs < seconds * 900;
    const tooShort = lastedMs < Math.min(1000, timings.silenceMs);
    if (tooShort) throw new KubeError(`watch ${path}: ended at once`, { ...ENDED_AT_ONCE, path });
    this.#failures = 0;
  }

  #take(event: WatchEvent): void {
    const object = event.object as RawObject;
    const version = versionOf(object);
    if (version === undefined) throw malformed(this.#o.path);
    // Events come in the order of their versions: this one was delivered before.
    if (this.#newest !== undefined && !isOlder(this.#newest, version)) return;
    if (event.type === 'DELETED') this.#o.sink.remove(object);
    else if (event.type !== 'BOOKMARK') this.#o.sink.set(object);
    this.#newest = version;
    this.#version = version;
    this.#failures = 0;
  }

  #heard(): void {
    this.#lastWord = performance.now();
    this.#contactSince ??= this.#lastWord;
  }

  /** Notes a failure; returns how long to wait. */
  #failed(error: unknown): number {
    const { retryInitialMs, retryMaximumMs } = this.#o.timings;
    if (isReason(error, ...PLACE_KEPT)) this.#suspect = true;
    else this.#version = undefined;
    if (!isReason(error, ...STILL_IN_CONTACT)) this.#contactSince = undefined;
    const longest = Math.min(retryMaximumMs, retryInitialMs * 2 ** Math.min(this.#failures, 20));
    this.#failures++;
    const asked = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
    return Math.max(longest * (0.5 + Math.random() / 2), Math.min(asked, retryMaximumMs));
  }
}

function versionOf(object: Partial<RawObject> | null | undefined): string | undefined {
  const version = object?.metadata?.resourceVersion;
  return typeof version === 'string' && version !== '' ? version : undefined;
}

function oldAnswer(path: string, version: string, newest: string): KubeError {
  return new KubeError(
    `list ${path}: an old answer, of version ${version}, where ${newest} was seen before (a cache on the way?); asking again`,
    { ...OLD_ANSWER, path },
  );
}

function malformed(path: string): KubeError {
  return new KubeError(`watch ${path}: an event without an object; listing anew`, {
    verb: 'watch',
    path,
    reason: 'Malformed',
    retryable: true,
  });
}
