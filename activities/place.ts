import type { NodeRef, Place, RolloutContext, Target } from '../api/messages.ts';
import { formatDuration } from '../policy/duration.ts';
import { budgetTakenText, type ClosedGate } from '../policy/gates.ts';
import { rolloutWait } from '../policy/rollout-wait.ts';
import { supersededText } from '../policy/superseded.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { GateStatus } from './gate-status.ts';
import { closedGate, endedBefore } from './gates.ts';
import { refreshHealth } from './health-gate.ts';
import { ImageKeeper } from './pre-pull.ts';
import { showRolloutWait } from './rollout-waits.ts';
import { ReadinessWatch } from './server-readiness.ts';
import { readSuperseded } from './superseded.ts';
import { waitUntilOpen, type PlaceAnswer, type Shut } from './wait-until-open.ts';
import { pause, waitInActivity } from './waiting.ts';

/** How long a node that was refused a moment ago is left alone, where nothing is seen that refuses it. */
const UNSEEN_MS = 1000;

export type { PlaceAnswer } from './wait-until-open.ts';

/** `target`: what its pull read; absent in waits that began before it was told. */
type PlaceInput = RolloutContext & { node: NodeRef; place: Place; reason: string; target?: Target };

/**
 * Waits until a node that could not start may try again: every gate is open. One wait, woken by the watches, whatever it
 * takes; what it waits for is in its heartbeats and in the KairosNode, and at the gates' deadline in its answer.
 *
 * Where the place is open at first sight, what refused the node is not seen yet, or nearly over, such as the workflow
 * of another rollout before its mark and after it: a moment's patience, or the wave would turn in circles.
 */
export async function waitForPlace(view: ClusterView, input: PlaceInput): Promise<PlaceAnswer> {
  assertCluster(view, input.cluster);
  const { name } = input.node;
  const superseded = () => {
    const node = sameNode(view, input.node);
    return node === undefined ? undefined : readSuperseded(view, input, node);
  };
  const closed = (): ClosedGate | undefined => {
    const node = sameNode(view, input.node);
    // Gone: let it start, it ends as skipped.
    if (node === undefined) return undefined;
    const kairos = view.kairosNodes.get(name);
    // It ended in this attempt, in another run: let it start, that is what it finds.
    if (endedBefore(input, kairos) || superseded() !== undefined) return undefined;
    return closedGate(view, input, node, kairos);
  };
  if (closed() === undefined) await waitInActivity(undefined, (signal) => pause(UNSEEN_MS, signal));
  const status = new GateStatus(view, input);
  const back = new ImageKeeper(view, input);
  let message: string | null = null;
  try {
    const answer = await waitUntilOpen(
      view,
      input,
      closed,
      (reason, last) => ({
        reason: `waited for its place in vain: ${reason}`,
        ...(last?.gate === 'Budget' ? { stop: budgetTakenText(last, formatDuration(input.spec.gateTimeoutMs)) } : {}),
      }),
      async () => {
        if (closed()?.gate === 'Health') await refreshHealth(view, input);
        back.look();
        void status.show(closed());
        void showRolloutWait(view, input, rolloutWait(closed()));
      },
    );
    const winner = superseded();
    if (winner !== undefined) return { open: false, reason: supersededText(name, winner), supersededBy: winner.by };
    if (!answer.open) message = `Skipped: ${answer.reason}`;
    return answer;
  } finally {
    await waitInActivity(undefined, (signal) => status.clear(message, signal));
    await showRolloutWait(view, input, undefined);
  }
}

/**
 * The barrier between the control plane and the workers: every control-plane node Ready and in nobody's hand, and the
 * API server says that it is ready, its etcd included; where it does not say so to us, that its database answers, which
 * the answer remarks. A node held on purpose stays in the way: the control plane is not whole without it.
 */
export async function waitForControlPlane(view: ClusterView, context: RolloutContext): Promise<PlaceAnswer> {
  assertCluster(view, context.cluster);
  const server = new ReadinessWatch(view.client);
  const closed = (): Shut | undefined => {
    const out = [...view.outages.values()].filter((node) => node.controlPlane).map((node) => node.name);
    if (out.length > 0) return { reason: `control-plane nodes ${out.join(', ')} are out; see kubectl get nodes` };
    if (server.trouble === undefined) return undefined;
    return { reason: `the API server is not ready: ${server.trouble}; see kubectl get --raw '/readyz?verbose'` };
  };
  try {
    const answer = await waitUntilOpen(
      view,
      context,
      closed,
      (reason) => ({ reason: `the workers were not started: ${reason}` }),
      () => server.look(),
    );
    return answer.open && server.unasked !== undefined ? { ...answer, remark: server.unasked } : answer;
  } finally {
    server.stop();
  }
}
