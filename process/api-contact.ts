import type { ClientObserver } from './observed-client.ts';

/** Answers of an API server that is in trouble, or does not know us. */
const IN_TROUBLE = /^5\d\d$|^401$/;

/**
 * What the answers that this process gets anyway tell of its API server: that it is there, and that it has refused
 * something. Who wants to know asks it only where they do not.
 */
export class ApiContact implements ClientObserver {
  #answeredAtMs = -Infinity;
  /** How many requests were refused for want of a right. */
  refusals = 0;

  called({ code }: { code: string }): void {
    if (code === 'Aborted') return;
    if (!/^\d+$/.test(code) || IN_TROUBLE.test(code)) this.#answeredAtMs = -Infinity;
    else this.#answeredAtMs = performance.now();
    if (code === '403') this.refusals += 1;
  }

  heard(): void {
    this.#answeredAtMs = performance.now();
  }

  watchEnded(_resource: string, how: 'closed' | 'failed'): void {
    if (how === 'failed') this.#answeredAtMs = -Infinity;
  }

  /** Whether the last word, not longer ago than that, was a good one. */
  isFresh(withinMs: number): boolean {
    return performance.now() - this.#answeredAtMs < withinMs;
  }
}
