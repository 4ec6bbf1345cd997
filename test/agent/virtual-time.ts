import type { AgentTime } from '../../agent/agent.ts';

interface Sleeper {
  readonly wakeAtMs: number;
  wake(): void;
}

/**
 * A clock that runs only while everybody sleeps: hours of many agents pass in seconds, in the order in which they
 * would. Only one of them is awake at a time.
 */
export class VirtualTime implements AgentTime {
  #nowMs = 0;
  readonly #sleepers: Sleeper[] = [];
  #fellAsleep: (() => void) | undefined;

  nowMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      this.#sleepers.push({ wakeAtMs: this.#nowMs + ms, wake: resolve });
      signal.addEventListener('abort', () => resolve(), { once: true });
      this.#fellAsleep?.();
    });
  }

  /** Resolves when so many sleep at the same time. */
  async asleep(count: number): Promise<void> {
    while (this.#sleepers.length < count) await new Promise<void>((resolve) => (this.#fellAsleep = resolve));
  }

  /** Lets everybody live on until that time; returns when all sleep beyond it. */
  async runUntil(ms: number): Promise<void> {
    const count = this.#sleepers.length;
    for (;;) {
      this.#sleepers.sort((a, b) => a.wakeAtMs - b.wakeAtMs);
      const first = this.#sleepers[0];
      if (first === undefined || first.wakeAtMs > ms) break;
      this.#sleepers.shift();
      this.#nowMs = first.wakeAtMs;
      first.wake();
      await this.asleep(count);
    }
    this.#nowMs = ms;
  }
}
