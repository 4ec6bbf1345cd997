import type { KubeClient } from '../kube/client.ts';
import { readServerTrouble } from '../kube/server-readiness.ts';

/** Whether the API server is ready, as it last said; asked at each look, one question at a time. */
export class ServerReadiness {
  trouble: string | undefined = 'it was not asked yet';
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
    void readServerTrouble(this.#client, this.#stop.signal)
      .then(
        (trouble) => (this.trouble = trouble),
        () => undefined,
      )
      .finally(() => (this.#asking = false));
  }

  stop(): void {
    this.#stop.abort(new Error('not asked any more'));
  }
}
