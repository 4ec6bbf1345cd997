import type { NodeInHand } from '../api/messages.ts';
import type { AttemptEvidence, Verdict } from '../api/types.ts';
import { KubeError } from '../kube/errors.ts';
import { type NodeView, readNode } from '../kube/nodes.ts';
import { listPodsOnNode, type PodView } from '../kube/pods.ts';
import type { Reflector } from '../kube/reflector.ts';
import { formatDuration } from '../policy/duration.ts';
import {
  findTrouble,
  restartsOf,
  stillNotReady,
  type Restarts,
  type SoakChecks,
  type Trouble,
} from '../policy/soak.ts';
import { resolveSoakChecks } from '../policy/strategy.ts';
import { answerInTime, askedAtMs, contactNeededMs, lookNow, orNone, untilInContact } from './contact.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { showStep } from './step-status.ts';
import { type Judged, evidenceNow, judgeSeen, untilJudged } from './verify.ts';
import { firstOf, pause, waitInActivity } from './waiting.ts';

/**
 * `verdict`: what the node turned out to be, where that is known better than Lost, and `evidence` what for. `note`: what a person should know of
 * a node that held out.
 */
export type SoakAnswer = { outcome: 'Steady'; note?: string } | Unsteady;

interface Unsteady {
  outcome: 'Unsteady';
  message: string;
  verdict?: Verdict;
  evidence?: AttemptEvidence;
}

/** A soak that has ended is asked about; a deadline must not come in between. */
const MARGIN_MS = 1000;

/**
 * Waits until the node was Ready for `soakMs` without a break and in one boot, as this worker has seen it, while the
 * pods that only this node can run were Ready and no container restarted more often than it may. Whatever breaks lets
 * the soak begin anew. What was not Ready before the node was touched is not waited for.
 *
 * A node that does not hold out by the end of the time that it may take to come back is unsteady; one whose pods do not
 * by the end of theirs is Unhealthy; one that is gone is unsteady at once. One that rebooted meanwhile is judged anew,
 * since it may have fallen back. A worker that was itself away gives it the time again.
 */
export async function soakNode(view: ClusterView, hand: NodeInHand): Promise<SoakAnswer> {
  assertCluster(view, hand.cluster);
  await showStep(view, hand, 'Soak', `must stay Ready for ${formatDuration(hand.spec.soakMs)}`);
  const { pods, close } = view.nodePods.open(hand.node.name);
  try {
    return await waitInActivity(undefined, (signal) => new Soak(view, hand, pods, signal).answer());
  } finally {
    close();
  }
}

/** What broke last: the node itself, or one of its pods. */
type Break = 'NotReady' | Trouble;

class Soak {
  /** Since when nothing has broken, how long that has to last, in which boot, and from where restarts are counted. */
  private begun: { atMs: number; forMs: number; bootID: string; restarts: Restarts } | undefined;
  private lastBreak: Break | undefined;
  private shown = '';
  /** What the node waits for, and since when, whatever its pods say of it meanwhile. */
  private waits: { key: string; since: string } | undefined;
  private readonly firstBootID: string | undefined;
  private readonly checks: SoakChecks;
  private readonly view: ClusterView;
  private readonly hand: NodeInHand;
  private readonly pods: Reflector<PodView>;
  private readonly signal: AbortSignal;

  constructor(view: ClusterView, hand: NodeInHand, pods: Reflector<PodView>, signal: AbortSignal) {
    this.view = view;
    this.hand = hand;
    this.pods = pods;
    this.signal = signal;
    this.checks = hand.spec.soakChecks ?? resolveSoakChecks();
    this.firstBootID = sameNode(view, hand.node)?.bootID;
  }

  async answer(): Promise<SoakAnswer> {
    const { view, hand, signal } = this;
    const { soakMs, rebootTimeoutMs } = hand.spec;
    const nodeDueMs = askedAtMs() + soakMs + rebootTimeoutMs;
    const podsDueMs = askedAtMs() + soakMs + this.checks.timeoutMs;
    let isLast = false;
    for (let dueMs = Math.min(nodeDueMs, podsDueMs); ;) {
      // A worker that comes late to it, or was away meanwhile, has to see a whole soak before it says no.
      const contactMs = contactNeededMs(hand) + soakMs + 2 * MARGIN_MS;
      const due = { atMs: Math.max(dueMs, Date.now() + soakMs + 2 * MARGIN_MS), signal, contactMs };
      const answer = await answerInTime(view, hand, due, (either) => this.untilSteady(either));
      if (answer === 'Steady') return this.steady();
      if (answer !== undefined && answer !== 'Gone') {
        const { verdict, evidence } = answer;
        const message = `it did not hold out in the new boot; ${answer.message}`;
        return { outcome: 'Unsteady', verdict, message, ...(evidence === undefined ? {} : { evidence }) };
      }
      const look = await lookNow(view, hand, signal);
      const { node } = look;
      if (node?.uid !== hand.node.uid) return gone(hand, node !== undefined);
      if (answer === 'Gone') {
        await pause(MARGIN_MS, signal);
        continue;
      }
      const now = node.ready ? await this.troubleNow() : 'NotReady';
      // Nothing is broken at this moment: the soak that is under way is seen to its end. Only where that breaks, too,
      // is it said to have broken.
      const broken = now ?? (isLast ? this.lastBreak : undefined);
      if (broken === undefined) {
        isLast = true;
        this.lastBreak = undefined;
        continue;
      }
      const itsDueMs = broken === 'NotReady' ? nodeDueMs : podsDueMs;
      if (Date.now() >= itsDueMs) {
        const evidence = evidenceNow(hand, look);
        return { ...(broken === 'NotReady' ? this.unsteady(node.ready) : this.unhealthy(broken)), evidence };
      }
      isLast = false;
      dueMs = itsDueMs;
    }
  }

  private steady(): SoakAnswer {
    const left = stillNotReady(this.pods.values(), this.hand.notReadyBefore ?? []);
    if (left.length === 0) return { outcome: 'Steady' };
    return { outcome: 'Steady', note: `not Ready, as before the upgrade: ${left.slice(0, 5).join(', ')}` };
  }

  private unhealthy({ text }: Trouble): Unsteady {
    const { node, target, spec } = this.hand;
    const within = formatDuration(spec.soakMs + this.checks.timeoutMs);
    return {
      outcome: 'Unsteady',
      verdict: 'Unhealthy',
      message: `node ${node.name} runs ${target.version}, but its pods did not hold out for ${formatDuration(spec.soakMs)} within ${within}: ${text}. Mend that, and set kairos.io/retry, which looks again and gives the node back; or name the pod in strategy.soakChecks.ignorePods`,
    };
  }

  private unsteady(ready: boolean): Unsteady {
    const { node, target, spec } = this.hand;
    const now = ready ? 'is Ready only now and then' : 'is not Ready';
    return {
      outcome: 'Unsteady',
      message: `node ${node.name} runs ${target.version} but did not stay Ready for ${formatDuration(spec.soakMs)} within ${formatDuration(spec.soakMs + spec.rebootTimeoutMs)}: it ${now}; look at its console and its kubelet, and free it when it serves`,
    };
  }

  private async untilSteady(signal: AbortSignal): Promise<'Steady' | 'Gone' | Judged> {
    const { view, hand } = this;
    await this.pods.synced(signal);
    for (;;) {
      const node = sameNode(view, hand.node);
      const broken = this.brokenNow();
      if (node === undefined || broken === 'Gone') return 'Gone';
      if (broken !== undefined) {
        await this.breaks(broken);
        await this.untilSeen(() => textOf(this.brokenNow()) !== textOf(broken), signal);
        continue;
      }
      if (this.begun === undefined) {
        this.begun = this.begin(node.bootID, hand.spec.soakMs);
        await this.show(undefined);
      }
      const { begun } = this;
      const leftMs = begun.atMs + begun.forMs - Date.now();
      if (leftMs > 0) {
        await this.untilSeen(() => this.brokenNow() !== undefined, signal, leftMs);
        continue;
      }
      const judged = await this.ask(begun.bootID, signal);
      if (judged !== undefined) return judged;
      await pause(MARGIN_MS, signal);
    }
  }

  /** Not what a watch says that may hang: a soak is over when the API server has been asked. */
  private async ask(bootID: string, signal: AbortSignal): Promise<'Steady' | Judged | undefined> {
    const { view, hand } = this;
    let node: NodeView | undefined;
    try {
      node = await orNone(readNode(view.client, hand.node.name));
    } catch (error) {
      if (!(error instanceof KubeError && error.retryable)) throw error;
      await this.beginAfterOutage(bootID, signal);
      return undefined;
    }
    // One that is gone is about to be seen as such.
    if (node?.uid !== hand.node.uid) return undefined;
    const broken = !node.ready || node.bootID !== bootID ? 'NotReady' : await this.troubleNow();
    if (broken !== undefined) {
      await this.breaks(broken);
      return undefined;
    }
    const judged = bootID === this.firstBootID ? judgeSeen(view, hand) : await untilJudged(view, hand, signal);
    return judged === undefined || judged.verdict === 'Succeeded' ? 'Steady' : judged;
  }

  private begin(bootID: string, forMs: number) {
    return { atMs: Date.now(), forMs, bootID, restarts: restartsOf(this.pods.values()) };
  }

  /**
   * What the Node says right after an outage of the API server was written before it: a soak is only seen from then on,
   * and for as long as it takes until a node that is silent is not called Ready any more.
   */
  private async beginAfterOutage(bootID: string, signal: AbortSignal): Promise<void> {
    this.begun = undefined;
    await pause(MARGIN_MS, signal);
    await untilInContact(this.view, 1, signal);
    this.begun = this.begin(bootID, Math.max(this.hand.spec.soakMs, contactNeededMs(this.hand)));
    await this.show('Away');
  }

  private async breaks(broken: Break): Promise<void> {
    this.begun = undefined;
    this.lastBreak = broken;
    await this.show(broken);
  }

  private brokenNow(): Break | 'Gone' | undefined {
    const node = sameNode(this.view, this.hand.node);
    if (node === undefined) return 'Gone';
    if (!node.ready || (this.begun !== undefined && node.bootID !== this.begun.bootID)) return 'NotReady';
    return this.troubleOf(this.pods.values());
  }

  private troubleOf(pods: Iterable<PodView>): Trouble | undefined {
    const all = [...pods];
    return findTrouble(all, this.checks, this.begun?.restarts ?? restartsOf(all), this.hand.notReadyBefore);
  }

  private async troubleNow(): Promise<Trouble | undefined> {
    for (;;) {
      try {
        return this.troubleOf(await listPodsOnNode(this.view.client, this.hand.node.name, this.signal));
      } catch (error) {
        if (!(error instanceof KubeError && error.retryable)) throw error;
        await pause(MARGIN_MS, this.signal);
      }
    }
  }

  /** Says what the soak waits for, in the pod's words of now, and when it begins anew. */
  private async show(broken: Break | 'Away' | undefined): Promise<void> {
    const text = textOf(broken);
    if (text === this.shown) return;
    this.shown = text;
    const now = new Date().toISOString();
    const soak = `must stay Ready for ${formatDuration(this.begun?.forMs ?? this.hand.spec.soakMs)}`;
    if (broken === undefined || broken === 'Away') {
      this.waits = undefined;
      const why = broken === 'Away' ? ', as the API server was away' : '';
      return showStep(this.view, this.hand, 'Soak', `${soak}, begun anew at ${now}${why}`);
    }
    const key = typeof broken === 'string' ? broken : broken.key;
    if (this.waits?.key !== key) this.waits = { key, since: now };
    return showStep(this.view, this.hand, 'Soak', `${soak}: waits since ${this.waits.since}, ${text}`);
  }

  /** Until it is so, as the watches of Nodes and pods tell, or until the time is over. */
  private async untilSeen(isSo: () => boolean, signal: AbortSignal, leftMs?: number): Promise<void> {
    const decide = () => (isSo() ? true : undefined);
    await firstOf<unknown>(
      signal,
      (either) => this.view.nodes.waitFor(this.hand.node.name, decide, either),
      (either) => this.pods.waitFor(undefined, decide, either),
      ...(leftMs === undefined ? [] : [(either: AbortSignal) => pause(leftMs, either)]),
    );
  }
}

function textOf(broken: Break | 'Gone' | 'Away' | undefined): string {
  if (broken === 'NotReady') return 'it is not Ready';
  return broken === undefined || typeof broken === 'string' ? (broken ?? '') : broken.text;
}

function gone({ node, target }: NodeInHand, replaced: boolean): SoakAnswer {
  const seen = replaced ? 'was deleted and made again' : 'was deleted';
  return {
    outcome: 'Unsteady',
    message: `node ${node.name} ran ${target.version}, but ${seen} before it was back in service: look at the machine`,
    evidence: { ready: false, at: new Date().toISOString() },
  };
}
