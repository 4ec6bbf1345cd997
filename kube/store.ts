import type { Origin, ReflectorLog } from './reflector-parts.ts';
import type { RawObject } from './raw-object.ts';

/** Where one list/watch loop puts what it hears. */
export interface Sink {
  /**
   * Start of a list: the objects of it are given one by one, and nothing is visible before `end`. `afresh`: the list is
   * of another history than what is known, so that equal versions mean nothing, and nothing is handed on as `before`.
   */
  beginList(afresh: boolean): { add(object: RawObject): void; end(): void };
  set(object: RawObject): void;
  remove(object: RawObject): void;
}

type Listener<T> = (key: string, now: T | undefined, before: T | undefined) => void;

interface Entry<T> {
  item: T;
  uid: string;
  resourceVersion: string;
}

/** The objects that a reflector knows, and who waits for them. */
export class Store<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #listeners = new Set<Listener<T>>();
  readonly #waiting = new Map<string | undefined, Set<Listener<T>>>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #closed = new AbortController();
  readonly #log: ReflectorLog | undefined;

  constructor(log: ReflectorLog | undefined) {
    this.#log = log;
    this.#synced.promise.catch(() => {});
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key)?.item;
  }

  *values(): Generator<T> {
    for (const { item } of this.#entries.values()) yield item;
  }

  markSynced(): void {
    this.#synced.resolve();
  }

  close(reason: Error): void {
    this.#synced.reject(reason);
    this.#closed.abort(reason);
    this.#listeners.clear();
  }

  synced(signal?: AbortSignal): Promise<void> {
    return this.#untilAborted(signal, (resolve, reject) => {
      this.#synced.promise.then(resolve, reject);
    });
  }

  onChange(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async waitFor<R>(
    key: string | undefined,
    decide: (item: T | undefined) => R | undefined,
    signal?: AbortSignal,
  ): Promise<R> {
    await this.synced(signal);
    return this.#untilAborted<R>(signal, (resolve, reject) => {
      const ask = (item: T | undefined) => {
        try {
          const answer = decide(item);
          if (answer !== undefined) resolve(answer);
        } catch (error) {
          reject(error as Error);
        }
      };
      const listener: Listener<T> = (_key, now) => ask(now);
      const waiting = this.#waiting.get(key) ?? new Set();
      this.#waiting.set(key, waiting.add(listener));
      ask(key === undefined ? undefined : this.get(key));
      return () => {
        waiting.delete(listener);
        if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
      };
    });
  }

  /** A part of the store that one list/watch loop owns: its list does not remove what other loops brought. */
  section(keyOf: (object: RawObject) => string, project: (object: RawObject, origin: Origin<T>) => T): Sink {
    const own = new Set<string>();
    const remove = (key: string) => {
      const known = this.#entries.get(key);
      own.delete(key);
      if (this.#entries.delete(key)) this.#tell(key, undefined, known?.item);
    };
    const read = (object: RawObject, listed: boolean, afresh = false): [string, Entry<T> | undefined] => {
      const key = keyOf(object);
      const { uid, resourceVersion } = object.metadata;
      const known = afresh ? undefined : this.#entries.get(key);
      if (known?.resourceVersion === resourceVersion && known.uid === uid) return [key, known];
      const before = known?.uid === uid ? known.item : undefined;
      try {
        return [key, { item: project(object, { listed, before }), uid, resourceVersion }];
      } catch (error) {
        this.#log?.warn({ key, error }, 'object could not be read and is treated as absent');
        return [key, undefined];
      }
    };
    const put = ([key, entry]: [string, Entry<T> | undefined]) => {
      const known = this.#entries.get(key);
      if (entry === undefined) remove(key);
      if (entry === undefined || entry === known) return;
      own.add(key);
      this.#entries.set(key, entry);
      this.#tell(key, entry.item, known?.item);
    };
    return {
      set: (object) => put(read(object, false)),
      remove: (object) => remove(keyOf(object)),
      beginList: (afresh) => {
        const listed = new Map<string, Entry<T> | undefined>();
        return {
          add: (object) => void listed.set(...read(object, true, afresh)),
          end: () => {
            for (const key of own) if (!listed.has(key)) remove(key);
            for (const entry of listed) put(entry);
          },
        };
      },
    };
  }

  #tell(key: string, now: T | undefined, before: T | undefined): void {
    const waiting = [...(this.#waiting.get(key) ?? []), ...(this.#waiting.get(undefined) ?? [])];
    for (const listener of [...this.#listeners, ...waiting]) {
      try {
        listener(key, now, before);
      } catch (error) {
        this.#log?.warn({ key, error }, 'listener of a reflector failed');
      }
    }
  }

  /** A promise that also ends with the signal or the store; `start` returns what to undo when it has ended. */
  async #untilAborted<R>(
    signal: AbortSignal | undefined,
    start: (resolve: (value: R) => void, reject: (error: Error) => void) => (() => void) | void,
  ): Promise<R> {
    signal?.throwIfAborted();
    this.#closed.signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    const onAbort = () => reject(signal?.reason as Error);
    const onClose = () => reject(this.#closed.signal.reason as Error);
    signal?.addEventListener('abort', onAbort);
    this.#closed.signal.addEventListener('abort', onClose);
    const undo = start(resolve, reject);
    try {
      return await promise;
    } finally {
      undo?.();
      signal?.removeEventListener('abort', onAbort);
      this.#closed.signal.removeEventListener('abort', onClose);
    }
  }
}
