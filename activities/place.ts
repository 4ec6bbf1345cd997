import type { NodeRef, Place, RolloutContext } from '../api/messages.ts';
import { whoIsInTheWay } from '../policy/budget.ts';
import { type ClusterView, assertCluster, sameNode, untilSeen } from './cluster-view.ts';
import { budgetText, endedBefore, mayTakeOver, nodeClosed } from './gates.ts';
import { DeadlinePassed, pause, waitInActivity } from './waiting.ts';

/** How long a node that was refused a moment ago is left alone, where nothing is seen that refuses it. */
const UNSEEN_MS = 1000;

export type PlaceAnswer = { open: true } | { open: false; reason: string };

/**
 * Waits until a node that could not start may try again: it is Ready, nobody else's, its agent has reported, and there
 * is a place in the budget. One wait, woken by the watches, whatever it takes; what it waits for is in its heartbeats,
 * and at the gate's deadline in its answer.
 *
 * Where the place is open at first sight, what refused the node is not seen yet, or nearly over, such as the workflow
 * of another rollout before its mark and after it: a moment's patience, or the wave would turn in circles.
 */
export async function waitForPlace(
  view: ClusterView,
  input: RolloutContext & { node: NodeRef; place: Place; reason: string },
): Promise<PlaceAnswer> {
  assertCluster(view, input.cluster);
  const { name } = input.node;
  const closed = (): string | undefined => {
    const node = sameNode(view, input.node);
    // Gone: let it start, it ends as skipped.
    if (node === undefined) return undefined;
    const kairos = view.kairosNodes.get(name);
    // It ended in this attempt, in another run: let it start, that is what it finds.
    if (endedBefore(input, kairos)) return undefined;
    const own = nodeClosed(node, mayTakeOver(input, node, kairos), kairos);
    if (own !== undefined) return own;
    if (kairos?.status.bootID !== node.bootID) return `node ${name}: its agent has not reported from this boot`;
    const rivals = whoIsInTheWay(input.place, name, view.outages.values());
    return rivals === undefined ? undefined : budgetText(rivals);
  };
  if (closed() === undefined) await waitInActivity(undefined, (signal) => pause(UNSEEN_MS, signal));
  return waitUntilOpen(view, input.spec.gateTimeoutMs, closed, (reason) => `waited for its place in vain: ${reason}`);
}

/**
 * The barrier between the control plane and the workers: every control-plane node Ready and in nobody's hand. A node
 * held on purpose stays in the way: the control plane is not whole without it.
 */
export async function waitForControlPlane(view: ClusterView, context: RolloutContext): Promise<PlaceAnswer> {
  assertCluster(view, context.cluster);
  const closed = (): string | undefined => {
    const out = [...view.outages.values()].filter((node) => node.controlPlane).map((node) => node.name);
    return out.length === 0 ? undefined : `control-plane nodes ${out.join(', ')} are out`;
  };
  return waitUntilOpen(
    view,
    context.spec.gateTimeoutMs,
    closed,
    (reason) => `the workers were not started: ${reason}; see kubectl get nodes`,
  );
}

async function waitUntilOpen(
  view: ClusterView,
  deadlineMs: number,
  closed: () => string | undefined,
  say: (reason: string) => string,
): Promise<PlaceAnswer> {
  const decide = () => (closed() === undefined ? true : undefined);
  try {
    await waitInActivity(deadlineMs, (signal) => untilSeen(view, decide, signal), closed);
    return { open: true };
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
    return { open: false, reason: say(closed() ?? 'it opened too late') };
  }
}
