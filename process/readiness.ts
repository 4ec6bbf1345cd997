/**
 * What keeps a process from doing its work, in words for people. Empty: it works. `/readyz` answers from it, and the log
 * tells when something enters or leaves it.
 */
export class Readiness {
  readonly #missing = new Map<string, { reason: string; since: Date }>();

  /** Notes that `part` is missing. The time is that of the first note since it was there. */
  lacks(part: string, reason: string, since: Date = new Date()): void {
    this.#missing.set(part, { reason, since: this.#missing.get(part)?.since ?? since });
  }

  /** Notes that `part` is there; answers for how long it was not, in ms, or undefined when nothing was missing. */
  has(part: string): number | undefined {
    const before = this.#missing.get(part);
    this.#missing.delete(part);
    return before === undefined ? undefined : Date.now() - before.since.getTime();
  }

  /** The reason that was noted for `part`, if it is missing. */
  reason(part: string): string | undefined {
    return this.#missing.get(part)?.reason;
  }

  /** The names of the parts that are missing. */
  get missing(): string[] {
    return [...this.#missing.keys()];
  }

  get ready(): boolean {
    return this.#missing.size === 0;
  }

  /** One line for each missing part: what, since when, why and what to do. */
  text(): string {
    if (this.ready) return 'ready\n';
    const lines = [...this.#missing].map(
      ([part, { reason, since }]) => `${part}, since ${since.toISOString()}: ${reason}`,
    );
    return `not ready\n${lines.join('\n')}\n`;
  }
}
