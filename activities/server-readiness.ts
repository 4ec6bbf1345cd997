import type { KubeClient } from '../kube/client.ts';
import { readServerReadiness } from '../kube/server-readiness.ts';

/** Whether the API server is ready, as it last said; asked at each look, one question at a time. */
export class ReadinessWatch {
  trouble: string | undefined = 'it was not asked yet';
  /** That it does not say so to us, and what was looked at instead. */
  unasked: string | undefined;
  readonly #client: KubeClient;
  readonly #stop = new AbortController();
  #asking = false;

  constructor(client: KubeClient) {
    this.#client = client;
    this.look();
  }

  look(): void {
    if (this.#asking) return;
    this.#asking = true;
    void readServerReadiness(this.#client, this.#stop.signal)
      .then(
        ({ trouble, unasked }) => {
          this.trouble = trouble;
          this.unasked = unasked;
        },
        () => undefined,
      )
      .finally(() => (this.#asking = false));
  }

  stop(): void {
    this.#stop.abort(new Error('not asked any more'));
  }
}
