/** Something that will happen at a virtual time; `cancel()` makes it not happen. */
export class Due {
  readonly at: number;
  readonly order: number;
  readonly run: () => void | Promise<void>;
  cancelled = false;

  constructor(at: number, order: number, run: () => void | Promise<void>) {
    this.at = at;
    this.order = order;
    this.run = run;
  }

  cancel(): void {
    this.cancelled = true;
  }

  before(other: Due): boolean {
    return this.at === other.at ? this.order < other.order : this.at < other.at;
  }
}

/** Time that passes only when it is told to. What is due at the same instant happens in the order it was asked for. */
export class VirtualClock {
  /** A Monday morning: dates in messages are the same in every run. */
  now = Date.parse('2026-01-05T08:00:00Z');
  #asked = 0;
  readonly #heap: Due[] = [];

  /** Calls `run` when `delayMs` of virtual time have passed. */
  in(delayMs: number, run: () => void | Promise<void>): Due {
    const due = new Due(this.now + Math.max(0, delayMs), this.#asked++, run);
    let place = this.#heap.push(due) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = this.#heap[parent];
      if (above === undefined || above.before(due)) break;
      this.#heap[place] = above;
      place = parent;
    }
    this.#heap[place] = due;
    return due;
  }

  /** When the next thing is due; undefined when nothing is. */
  next(): number | undefined {
    while (this.#heap[0]?.cancelled) this.#removeFirst();
    return this.#heap[0]?.at;
  }

  /** Takes the next thing out and moves time to it; undefined when nothing is due up to `limit`. */
  take(limit: number): Due | undefined {
    const at = this.next();
    if (at === undefined || at > limit) return undefined;
    this.now = Math.max(this.now, at);
    return this.#removeFirst();
  }

  #removeFirst(): Due | undefined {
    const [first] = this.#heap;
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return first;
    let place = 0;
    for (;;) {
      const left = 2 * place + 1;
      const [a, b] = [this.#heap[left], this.#heap[left + 1]];
      if (a === undefined) break;
      const [least, child] = b !== undefined && b.before(a) ? [b, left + 1] : [a, left];
      if (last.before(least)) break;
      this.#heap[place] = least;
      place = child;
    }
    this.#heap[place] = last;
    return first;
  }
}
