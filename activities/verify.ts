import type { NodeInHand } from '../api/messages.ts';
import type { AttemptEvidence } from '../api/types.ts';
import { formatDuration } from '../policy/duration.ts';
import { evidenceKept } from '../policy/evidence.ts';
import { type Evidence, type Judgement, judge, judgeByPod, judgeGone, judgeOverdue } from '../policy/verdict.ts';
import { type Due, type LiveLook, answerInTime, askedAtMs, contactNeededMs, lookNow } from './contact.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';
import { readByPod } from './evidence-pod.ts';
import { untilItLeft, wasForced } from './reboot.ts';
import { showStep } from './step-status.ts';
import { firstOf, waitInActivity } from './waiting.ts';

/** `bootID`: the boot that was judged; empty where the node is gone. `evidence`: what it was judged by. */
export type Judged = Judgement & { bootID: string; evidence?: AttemptEvidence };

/**
 * Waits for the evidence from the new boot: the Node Ready with a new boot id, and its agent's report from that boot.
 * At the deadline says what is known, by a live read and only when the worker has been in contact for long enough.
 * Where a Ready node's agent is silent, a pod reads the same evidence in its place.
 *
 * A node that still is in its old boot has been waited for by `rebootNode`: it is judged as soon as the evidence is
 * fresh.
 */
export async function verifyNode(view: ClusterView, hand: NodeInHand): Promise<Judged> {
  assertCluster(view, hand.cluster);
  await showStep(
    view,
    hand,
    'Verify',
    'waiting for the node to be Ready and for its agent to report from the new boot',
  );
  return waitInActivity(undefined, async (signal) => {
    const { rebootTimeoutMs } = hand.spec;
    const soon = { atMs: askedAtMs() + contactNeededMs(hand), signal };
    const left = await answerInTime(view, hand, soon, (either) => untilItLeft(view, hand, either));
    if (left === undefined) {
      const look = await lookNow(view, hand, signal);
      if (look.node?.uid === hand.node.uid && look.node.bootID === hand.bootID) {
        const evidence = evidenceOf(hand, look);
        return judgedBy(evidence, judgeOverdue(evidence, waitedFor(hand), { forced: wasForced(view, hand) }));
      }
    }
    const due = { atMs: askedAtMs() + rebootTimeoutMs, signal };
    return (
      (await answerInTime(view, hand, due, (either) => untilJudged(view, hand, either))) ?? judgeLate(view, hand, due)
    );
  });
}

const waitedFor = (hand: NodeInHand) => formatDuration(hand.spec.rebootTimeoutMs);

/** The deadline has passed: what a live look says, and where that is too little, what a pod on the node reads. */
async function judgeLate(view: ClusterView, hand: NodeInHand, { atMs, signal }: Due): Promise<Judged> {
  const look = await lookNow(view, hand, signal);
  const seen = judgeNow(hand, look);
  if (seen !== undefined) return seen;
  const evidence = evidenceOf(hand, look);
  const { bootID } = evidence.node;
  const late = judgeOverdue(evidence, waitedFor(hand), { forced: wasForced(view, hand) });
  if (late.verdict !== 'Unverified') return judgedBy(evidence, late);

  await showStep(
    view,
    hand,
    'Verify',
    'its agent has not reported from the new boot: a pod reads the node in its place',
  );
  return firstOf(
    signal,
    (either) => untilJudged(view, hand, either),
    async (either) => {
      const podDue = { atMs: atMs + hand.spec.rebootTimeoutMs / 3, signal: either };
      const reading = await readByPod(view, hand, bootID, podDue);
      const { report } = reading;
      const read = report === undefined ? evidence : { ...evidence, report };
      return judgedBy(read, judgeByPod(evidence, waitedFor(hand), reading), 'pod');
    },
  );
}

/** What the watches have evidence for, if anything. */
export function judgeSeen(view: ClusterView, hand: NodeInHand): Judged | undefined {
  const { name } = hand.node;
  const [node, report] = [view.nodes.get(name), view.kairosNodes.get(name)?.status];
  return judgeNow(hand, { ...(node === undefined ? {} : { node }), ...(report === undefined ? {} : { report }) });
}

/** Resolves with the first verdict that the watches have evidence for. */
export async function untilJudged(view: ClusterView, hand: NodeInHand, signal: AbortSignal): Promise<Judged> {
  const { name } = hand.node;
  const decide = () => judgeSeen(view, hand);
  return firstOf(
    signal,
    (either) => view.nodes.waitFor(name, decide, either),
    (either) => view.kairosNodes.waitFor(name, decide, either),
  );
}

function judgeNow(hand: NodeInHand, look: LiveLook): Judged | undefined {
  if (look.node?.uid !== hand.node.uid)
    return {
      ...judgeGone(hand.node.name, look.node?.uid),
      bootID: '',
      evidence: { ready: false, at: new Date().toISOString() },
    };
  const evidence = evidenceOf(hand, look);
  const judged = judge(evidence);
  return judged === undefined ? undefined : judgedBy(evidence, judged);
}

/** What the API server has of a node at this moment, as it is kept with a verdict. */
export const evidenceNow = (hand: NodeInHand, look: LiveLook): AttemptEvidence =>
  evidenceKept(evidenceOf(hand, look), 'agent', Date.now());

const judgedBy = (evidence: Evidence, judgement: Judgement, by: 'agent' | 'pod' = 'agent'): Judged => ({
  ...judgement,
  bootID: evidence.node.bootID,
  evidence: evidenceKept(evidence, by, Date.now()),
});

function evidenceOf(hand: NodeInHand, { node, report }: LiveLook): Evidence {
  return {
    sourceBootID: hand.bootID,
    target: hand.target,
    ...(hand.from === undefined ? {} : { from: hand.from }),
    node: { name: hand.node.name, bootID: node?.bootID ?? '', ready: node?.ready ?? false },
    ...(report === undefined ? {} : { report }),
  };
}
