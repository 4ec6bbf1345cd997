import { HELD_PREFIX } from '../api/names.ts';
import type { NodeView } from '../kube/nodes.ts';
import type { Reflector } from '../kube/reflector.ts';
import type { OutNode } from '../policy/budget.ts';

/**
 * The nodes that are out, kept as the Node watch delivers: counting them costs what is out, not what is in the cluster.
 */
export class OutageIndex {
  private readonly out = new Map<string, OutNode>();
  private readonly waiters = new Set<() => void>();

  constructor(nodes: Reflector<NodeView>) {
    for (const node of nodes.values()) this.update(node.name, node);
    nodes.onChange((name, now) => this.update(name, now));
  }

  values(): Iterable<OutNode> {
    return this.out.values();
  }

  /**
   * Resolves with the first answer of `decide` that is not undefined: asked now, and whenever a node goes out, comes
   * back, or changes otherwise. Rejects with the signal's reason.
   */
  async waitFor<R>(decide: () => R | undefined, signal: AbortSignal): Promise<R> {
    for (;;) {
      signal.throwIfAborted();
      const answer = decide();
      if (answer !== undefined) return answer;
      await new Promise<void>((resolve, reject) => {
        const wake = () => {
          signal.removeEventListener('abort', abort);
          this.waiters.delete(wake);
          resolve();
        };
        const abort = () => {
          this.waiters.delete(wake);
          reject(signal.reason as Error);
        };
        this.waiters.add(wake);
        signal.addEventListener('abort', abort, { once: true });
      });
    }
  }

  private update(name: string, node: NodeView | undefined): void {
    if (node === undefined || (node.owner === undefined && node.ready && !node.unschedulable)) this.out.delete(name);
    else {
      const held = node.owner?.startsWith(HELD_PREFIX) === true;
      this.out.set(name, {
        name,
        controlPlane: node.controlPlane,
        marked: node.owner !== undefined,
        ...(held && { held }),
        order: held ? 0 : (node.ownerOrder ?? 0),
      });
    }
    for (const wake of this.waiters) wake();
  }
}
