import { pause } from '../kube/pause.ts';

/**
 * Runs work for keys, one run per key at a time. A key that is added while its run goes on is run once more after it:
 * many changes become one run that sees the latest state. A failed run is repeated after 0.5 s doubling to 30 s.
 */
export class KeyedQueue {
  readonly #work: (key: string) => Promise<void>;
  readonly #onFailure: (key: string, error: unknown) => void;
  readonly #signal: AbortSignal;
  readonly #wanted = new Set<string>();
  readonly #running = new Set<string>();
  /** Ends the wait of a key whose run has failed. */
  readonly #wakes = new Map<string, () => void>();

  constructor(
    work: (key: string) => Promise<void>,
    onFailure: (key: string, error: unknown) => void,
    signal: AbortSignal,
  ) {
    this.#work = work;
    this.#onFailure = onFailure;
    this.#signal = signal;
  }

  add(key: string): void {
    this.#wanted.add(key);
    if (!this.#running.has(key)) void this.#run(key);
  }

  /** As `add`, for what must not wait until a failed run is repeated, such as a person's word. */
  addNow(key: string): void {
    this.add(key);
    this.#wakes.get(key)?.();
  }

  async #run(key: string): Promise<void> {
    this.#running.add(key);
    let delayMs = 500;
    while (this.#wanted.has(key) && !this.#signal.aborted) {
      this.#wanted.delete(key);
      try {
        await this.#work(key);
        delayMs = 500;
      } catch (error) {
        if (this.#signal.aborted) break;
        this.#onFailure(key, error);
        this.#wanted.add(key);
        const woken = await this.#waits(key, delayMs * (0.75 + Math.random() / 2));
        delayMs = woken ? 500 : Math.min(30_000, delayMs * 2);
      }
    }
    this.#running.delete(key);
  }

  /** True where somebody did not let it wait. */
  async #waits(key: string, ms: number): Promise<boolean> {
    const wake = new AbortController();
    this.#wakes.set(key, () => wake.abort());
    await pause(ms, AbortSignal.any([this.#signal, wake.signal])).catch(() => undefined);
    this.#wakes.delete(key);
    return wake.signal.aborted;
  }
}
