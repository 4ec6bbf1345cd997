import type { Engine } from './engine.ts';

/**
 * Tells when workflows have closed: one open request to Temporal for each, whoever asks and how often. The answer also
 * comes when Temporal goes away, so it says "look again", not "closed".
 */
export class Closings {
  readonly #engine: Pick<Engine, 'closed'>;
  readonly #watched = new Set<string>();

  constructor(engine: Pick<Engine, 'closed'>) {
    this.#engine = engine;
  }

  watch(workflowID: string, lookAgain: () => void): void {
    if (this.#watched.has(workflowID)) return;
    this.#watched.add(workflowID);
    const look = () => {
      this.#watched.delete(workflowID);
      lookAgain();
    };
    this.#engine.closed(workflowID).then(look, look);
  }
}
