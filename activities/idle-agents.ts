import type { NodeView } from '../kube/nodes.ts';
import { listPodsOnNode } from '../kube/pods.ts';
import type { ClusterView } from './cluster-view.ts';

const AGENT_LABEL = 'app.kubernetes.io/name';
const AGENT = 'kairos-agent';
/** Nodes that one look asks for: right after an install nobody has reported yet, and the API server has other work. */
const IN_ONE_LOOK = 50;

/**
 * Finds nodes whose agent shows that it has nothing to report, since the machine does not run Kairos. An agent is Ready
 * only when it has reported or has nothing to report; so a Ready one without a KairosNode is idle. Two looks in a row
 * must find that: between them a report that was on its way has arrived.
 */
export class IdleAgents {
  readonly #idle = new Set<string>();
  #before = new Set<string>();
  readonly #view: ClusterView;

  constructor(view: ClusterView) {
    this.#view = view;
  }

  has({ uid }: Pick<NodeView, 'uid'>): boolean {
    return this.#idle.has(uid);
  }

  /** Looks at those of these nodes that have no KairosNode. What cannot be read is looked at again the next time. */
  async look(nodes: readonly NodeView[], signal: AbortSignal): Promise<void> {
    const unknown = nodes.filter((node) => this.#isUnknown(node)).slice(0, IN_ONE_LOOK);
    const looked = await Promise.all(unknown.map(async (node) => ({ node, ready: await this.#isReady(node, signal) })));
    // A report may have come while the pods were read.
    const ready = looked.filter(({ node, ready }) => ready && this.#isUnknown(node)).map(({ node }) => node.uid);
    for (const uid of ready) if (this.#before.has(uid)) this.#idle.add(uid);
    this.#before = new Set(ready);
  }

  #isUnknown(node: NodeView): boolean {
    return !this.has(node) && this.#view.kairosNodes.get(node.name) === undefined;
  }

  async #isReady({ name }: NodeView, signal: AbortSignal): Promise<boolean> {
    const pods = await listPodsOnNode(this.#view.client, name, signal).catch(() => []);
    return pods.some(({ labels, ready, deleting }) => labels[AGENT_LABEL] === AGENT && ready && !deleting);
  }
}
