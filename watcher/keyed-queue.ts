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
        await pause(delayMs * (0.75 + Math.random() / 2), this.#signal).catch(() => undefined);
        delayMs = Math.min(30_000, delayMs * 2);
      }
    }
    this.#running.delete(key);
  }
}
