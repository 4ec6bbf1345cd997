import type { KubeClient } from '../kube/client.ts';
import { type PodView, listForWatch, watchPodsOnNode } from '../kube/pods.ts';
import type { Reflector } from '../kube/reflector.ts';

/** As long as a watch outlives the step that needed it last: an image is written and booted in less, as a rule. */
const KEPT_MS = 30 * 60_000;

interface Open {
  readonly pods: Reflector<PodView>;
  users: number;
  ending: NodeJS.Timeout | undefined;
}

/**
 * The pods of the nodes in hand: for each one list, made before the node is marked, and a watch from there, which its
 * later steps find open. Whoever finds none (another worker, or this one after a start) lists anew.
 */
export class NodePods {
  readonly #client: KubeClient;
  readonly #keptMs: number;
  readonly #open = new Map<string, Open>();

  /** `keptMs`: how long a watch is kept for the next step of its node. */
  constructor(client: KubeClient, keptMs = KEPT_MS) {
    this.#client = client;
    this.#keptMs = keptMs;
  }

  /** What the API server has now; a watch goes on from it. Rejects with the KubeError of the list. */
  async list(node: string): Promise<PodView[]> {
    const listed = await listForWatch(this.#client, node);
    const known = this.#open.get(node);
    if (known !== undefined && known.users === 0) this.forget(node);
    const { pods, close } = this.#opened(node, () => watchPodsOnNode(this.#client, node, listed));
    const now = [...pods.values()];
    close();
    return now;
  }

  /** The watch of a node's pods, open until whoever asked for it, and for the time that it is kept, closes it. */
  open(node: string): { pods: Reflector<PodView>; close: () => void } {
    return this.#opened(node, () => watchPodsOnNode(this.#client, node));
  }

  /** The node is not in hand any more: its watch is closed, unless a step still uses it, which closes it then. */
  forget(node: string): void {
    const known = this.#open.get(node);
    if (known === undefined) return;
    this.#open.delete(node);
    if (known.users === 0) stop(known);
  }

  stop(): void {
    for (const open of this.#open.values()) stop(open);
    this.#open.clear();
  }

  #opened(node: string, start: () => Reflector<PodView>) {
    const open = this.#open.get(node) ?? { pods: start(), users: 0, ending: undefined };
    this.#open.set(node, open);
    clearTimeout(open.ending);
    open.users += 1;
    let closed = false;
    const close = () => {
      if (closed) return;
      closed = true;
      open.users -= 1;
      if (open.users > 0) return;
      if (this.#open.get(node) !== open || this.#keptMs === 0) {
        if (this.#open.get(node) === open) this.#open.delete(node);
        stop(open);
        return;
      }
      open.ending = setTimeout(() => this.forget(node), this.#keptMs).unref();
    };
    return { pods: open.pods, close };
  }
}

function stop({ pods, ending }: Open): void {
  clearTimeout(ending);
  pods.stop();
}
