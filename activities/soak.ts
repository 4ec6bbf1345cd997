import type { NodeInHand } from '../api/messages.ts';
import type { Verdict } from '../api/types.ts';
import { formatDuration } from '../policy/duration.ts';
import { answerInTime, askedAtMs, contactNeededMs, lookNow } from './contact.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { showStep } from './step-status.ts';
import { type Judged, judgeSeen, untilJudged } from './verify.ts';
import { pause, waitInActivity } from './waiting.ts';

/** `verdict`: what the node turned out to be, where that is known better than Lost. */
export type SoakAnswer = { outcome: 'Steady' } | { outcome: 'Unsteady'; message: string; verdict?: Verdict };

/**
 * Waits until the node was Ready for `soakMs` without a break and in one boot, as this worker has seen it. A node that
 * does not hold out by the end of the time that it may take to come back is unsteady; one that is gone is so at once.
 * One that rebooted meanwhile is judged anew, since it may have fallen back. A worker that was itself away gives it the
 * time again.
 */
export async function soakNode(view: ClusterView, hand: NodeInHand): Promise<SoakAnswer> {
  assertCluster(view, hand.cluster);
  const { soakMs, rebootTimeoutMs } = hand.spec;
  const soak = formatDuration(soakMs);
  await showStep(view, hand, 'Soak', `must stay Ready for ${soak}`);
  return waitInActivity(undefined, async (signal) => {
    const fromMs = askedAtMs() + soakMs + rebootTimeoutMs;
    for (;;) {
      // A worker that comes late to it, or was away meanwhile, has to see a whole soak before it says no.
      const contactMs = contactNeededMs(hand) + soakMs + 2 * MARGIN_MS;
      const due = { atMs: Math.max(fromMs, Date.now() + soakMs + 2 * MARGIN_MS), signal, contactMs };
      const answer = await answerInTime(view, hand, due, (either) => untilSteady(view, hand, either));
      if (answer === 'Steady') return { outcome: 'Steady' };
      if (answer !== undefined && answer !== 'Gone') {
        const { verdict, message } = answer;
        return { outcome: 'Unsteady', verdict, message: `it did not hold out in the new boot; ${message}` };
      }
      const { node } = await lookNow(view, hand, signal);
      const { name } = hand.node;
      if (node?.uid !== hand.node.uid) {
        const seen = node === undefined ? 'was deleted' : 'was deleted and made again';
        return {
          outcome: 'Unsteady',
          message: `node ${name} ran ${hand.target.version}, but ${seen} before it was back in service: look at the machine`,
        };
      }
      if (answer === 'Gone') {
        await pause(MARGIN_MS, signal);
        continue;
      }
      const now = node.ready ? 'is Ready only now and then' : 'is not Ready';
      return {
        outcome: 'Unsteady',
        message: `node ${name} runs ${hand.target.version} but did not stay Ready for ${soak} within ${formatDuration(soakMs + rebootTimeoutMs)}: it ${now}; look at its console and its kubelet, and free it when it serves`,
      };
    }
  });
}

/** A soak that has ended is asked about; a deadline must not come in between. */
const MARGIN_MS = 1000;

async function untilSteady(
  view: ClusterView,
  hand: NodeInHand,
  signal: AbortSignal,
): Promise<'Steady' | 'Gone' | Judged> {
  const { name } = hand.node;
  const node = () => sameNode(view, hand.node);
  const firstBootID = node()?.bootID;
  for (;;) {
    const state = () => (node() === undefined ? 'Gone' : node()?.ready === true ? 'Ready' : undefined);
    if ((await view.nodes.waitFor(name, state, signal)) === 'Gone') return 'Gone';
    const bootID = node()?.bootID;
    const broke = new AbortController();
    const either = AbortSignal.any([signal, broke.signal]);
    const held = pause(hand.spec.soakMs, either).then(() => true);
    const holds = () => node()?.ready === true && node()?.bootID === bootID;
    const lost = view.nodes.waitFor(name, () => (holds() ? undefined : false), either);
    const steady = await Promise.race([held, lost]).finally(() => broke.abort(new Error('answered')));
    await Promise.allSettled([held, lost]);
    if (!steady) continue;
    // Not what a watch says that may hang: a soak is over when the API server has been asked.
    const now = (await lookNow(view, hand, signal)).node;
    if (now?.uid === hand.node.uid && (!now.ready || now.bootID !== bootID)) {
      await pause(MARGIN_MS, signal);
      continue;
    }
    const judged = bootID === firstBootID ? judgeSeen(view, hand) : await untilJudged(view, hand, signal);
    return judged === undefined || judged.verdict === 'Succeeded' ? 'Steady' : judged;
  }
}
