import type { NodeInHand } from '../api/messages.ts';
import { formatDuration } from '../policy/duration.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { showStep } from './step-status.ts';
import { DeadlinePassed, pause, waitInActivity } from './waiting.ts';

export type SoakAnswer = { outcome: 'Steady' } | { outcome: 'Unsteady'; message: string };

/**
 * Waits until the node was Ready for `soakMs` without a break, as this worker has seen it. A node that does not hold
 * out by the end of the time that it may take to come back is unsteady.
 */
export async function soakNode(view: ClusterView, hand: NodeInHand): Promise<SoakAnswer> {
  assertCluster(view, hand.cluster);
  const { soakMs, rebootTimeoutMs } = hand.spec;
  const ready = () => sameNode(view, hand.node)?.ready === true;
  await showStep(view, hand, 'Soak', `must stay Ready for ${formatDuration(soakMs)}`);
  try {
    return await waitInActivity(soakMs + rebootTimeoutMs, async (signal) => {
      for (;;) {
        await view.nodes.waitFor(hand.node.name, () => (ready() ? true : undefined), signal);
        const broke = new AbortController();
        const either = AbortSignal.any([signal, broke.signal]);
        const held = pause(soakMs, either).then(() => true);
        const lost = view.nodes.waitFor(hand.node.name, () => (ready() ? undefined : false), either);
        const steady = await Promise.race([held, lost]).finally(() => broke.abort(new Error('answered')));
        await Promise.allSettled([held, lost]);
        if (steady) return { outcome: 'Steady' };
      }
    });
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
    return {
      outcome: 'Unsteady',
      message: `the node runs ${hand.target.version} but did not stay Ready for ${formatDuration(soakMs)} within ${error.waited}`,
    };
  }
}
