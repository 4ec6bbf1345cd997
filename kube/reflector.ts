import type { KubeClient } from './client.ts';
import { ListWatch } from './list-watch.ts';
import { type RawObject, objectKey } from './raw-object.ts';
import type { Listed, Origin, ReflectorLog, ReflectorTimings } from './reflector-parts.ts';
import { Store } from './store.ts';

export type { Origin, ReflectorLog, ReflectorTimings } from './reflector-parts.ts';

export interface ReflectorOptions<T> {
  /** The collection, such as `/api/v1/nodes`; or several, of which every object is in one. */
  path: string | readonly string[];
  query?: { labelSelector?: string; fieldSelector?: string };
  /** Default: `name`, or `namespace/name` where there is a namespace. */
  key?: (object: RawObject) => string;
  /** Keeps what is needed of an object. Whatever it throws is logged, and the object is treated as absent. */
  project: (object: RawObject, origin: Origin<T>) => T;
  log?: ReflectorLog;
  /** A list that was made a moment ago: the watch begins from it. Only for one path. */
  listed?: Listed;
  /** For tests. */
  timings?: Partial<ReflectorTimings>;
}

/** An always current copy of a collection. It never gives up: whatever fails is tried again with back-off. */
export interface Reflector<T> {
  get(key: string): T | undefined;
  values(): Iterable<T>;
  readonly size: number;
  /** Resolves when the first list is complete; rejects with `signal.reason` on abort, and when stopped. */
  synced(signal?: AbortSignal): Promise<void>;
  /**
   * Resolves with the first answer of `decide` that is not undefined. Asked once synced, and after each change of that
   * key; with `key` undefined, after each change of any (and first with undefined). Rejects with what `decide` throws,
   * with `signal.reason` on abort, and when the reflector is stopped.
   */
  waitFor<R>(key: string | undefined, decide: (item: T | undefined) => R | undefined, signal?: AbortSignal): Promise<R>;
  /** Called after each change, in order; `now` is undefined when the object is gone. Returns the unsubscription. */
  onChange(listener: (key: string, now: T | undefined, before: T | undefined) => void): () => void;
  /** For how long contact with the API server has provably been unbroken, up to its last word; 0 while broken. */
  contactMs(): number;
  stop(): void;
}

const TIMINGS: ReflectorTimings = {
  retryInitialMs: 250,
  retryMaximumMs: 30_000,
  // The API server sends a bookmark about once a minute.
  silenceMs: 90_000,
  watchSeconds: 300,
};

export function startReflector<T>(client: KubeClient, options: ReflectorOptions<T>): Reflector<T> {
  const store = new Store<T>(options.log);
  const paths = typeof options.path === 'string' ? [options.path] : options.path;
  const stopping = new AbortController();
  const loops = paths.map(
    (path) =>
      new ListWatch({
        client,
        path,
        query: { ...options.query },
        timings: { ...TIMINGS, ...options.timings },
        log: options.log,
        signal: stopping.signal,
        sink: store.section(options.key ?? objectKey, options.project),
        listed: options.listed,
      }),
  );
  void Promise.all(loops.map((loop) => loop.listed)).then(() => store.markSynced());
  return {
    get: (key) => store.get(key),
    values: () => store.values(),
    get size() {
      return store.size;
    },
    synced: (signal) => store.synced(signal),
    waitFor: (key, decide, signal) => store.waitFor(key, decide, signal),
    onChange: (listener) => store.onChange(listener),
    contactMs: () => (loops.length === 0 ? 0 : Math.min(...loops.map((loop) => loop.contactMs()))),
    stop: () => {
      stopping.abort(new Error(`reflector of ${paths.join(', ')} was stopped`));
      store.close(stopping.signal.reason as Error);
    },
  };
}
