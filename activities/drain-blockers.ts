import type { NodeInHand } from '../api/messages.ts';
import type { Blocker } from '../api/types.ts';
import { LISTED_BLOCKERS, blockersText } from '../policy/drain-blockers.ts';
import type { ClusterView } from './cluster-view.ts';
import { type Blockers, NO_BLOCKERS, showStep } from './step-status.ts';
import { pause } from './waiting.ts';

const AT_MOST_EVERY_MS = 1000;

/**
 * What keeps a drain, as its KairosNode shows it: written when it changes, and at most about once a second. A pod that
 * an earlier attempt of the same drain found keeps the time at which it was first seen.
 */
export class BlockerList {
  readonly #view: ClusterView;
  /** With what the drain has recorded so far. */
  hand: NodeInHand;
  readonly #blockers = new Map<string, Blocker>();
  readonly #seen: ReadonlyMap<string, string>;
  #written = '';
  #writing: Promise<void> | undefined;
  readonly #ended = new AbortController();

  constructor(view: ClusterView, hand: NodeInHand) {
    this.#view = view;
    this.hand = hand;
    const before = view.kairosNodes.get(hand.node.name)?.status;
    const same = before?.inHand?.startedAt === hand.startedAt ? (before.blockers ?? []) : [];
    this.#seen = new Map(same.map(({ pod, since }) => [pod, since]));
  }

  get all(): Blocker[] {
    return [...this.#blockers.values()];
  }

  get text(): string {
    return blockersText(this.all, this.#blockers.size);
  }

  set(pod: string, blocker: Omit<Blocker, 'pod' | 'since'>): void {
    const since = this.#blockers.get(pod)?.since ?? this.#seen.get(pod) ?? new Date().toISOString();
    const message = blocker.message.slice(0, 1024);
    this.#blockers.set(pod, { ...blocker, message, pod, since });
    this.#write();
  }

  delete(pod: string): void {
    const shown = this.#blockers.delete(pod) || (this.#written === '' && this.#seen.has(pod));
    if (shown) this.#write();
  }

  /**
   * Nothing keeps it any more, however the drain ended. `goesOn`: the next step is shown at once, and takes back what is
   * listed; so it does with what cannot be written now.
   */
  async end(goesOn: boolean): Promise<void> {
    this.#ended.abort(new Error('the drain has ended'));
    await this.#writing;
    if (goesOn) return;
    const nothingShown = this.#written === '' ? this.#seen.size === 0 : this.#written === JSON.stringify(NO_BLOCKERS);
    if (nothingShown) return;
    this.#blockers.clear();
    await showStep(this.#view, this.hand, 'Drain', this.text, NO_BLOCKERS).catch(() => undefined);
  }

  #write(): void {
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined));
  }

  /** Best effort: what keeps a pod must not fail for want of telling it. */
  async #writeAll(): Promise<void> {
    // Where nothing is left to list, the drain ends as a rule.
    if (this.#blockers.size === 0) await pause(AT_MOST_EVERY_MS, this.#ended.signal).catch(() => undefined);
    while (!this.#ended.signal.aborted) {
      const shown = this.#shown();
      const now = JSON.stringify(shown);
      if (now === this.#written) return;
      await showStep(this.#view, this.hand, 'Drain', this.text, shown).then(
        () => (this.#written = now),
        () => undefined,
      );
      await pause(AT_MOST_EVERY_MS, this.#ended.signal).catch(() => undefined);
    }
  }

  #shown(): Blockers {
    const all = this.all;
    return all.length === 0 ? NO_BLOCKERS : { blockers: all.slice(0, LISTED_BLOCKERS), blockedPods: all.length };
  }
}
