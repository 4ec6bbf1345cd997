import type { NodeRef, RolloutContext } from '../api/messages.ts';
import { KubeError } from '../kube/errors.ts';
import { readNode, type NodeView } from '../kube/nodes.ts';
import { formatDuration } from '../policy/duration.ts';
import { isFailure } from '../policy/placement.ts';
import { sameAttempt } from '../policy/recovery.ts';
import { type ClusterView, assertCluster, sameNode } from './cluster-view.ts';
import { askedAtMs, contactNeededMs, orNone } from './contact.ts';
import { GateStatus } from './gate-status.ts';
import { readSuperseded } from './superseded.ts';
import type { PlaceAnswer } from './place.ts';
import { pause, waitInActivity } from './waiting.ts';

export type WaveSoakInput = RolloutContext & {
  /** Name of the wave. */
  wave: string;
  /** Its nodes; those that failed, or are gone, are not looked at. */
  nodes: NodeRef[];
  /** How long they must stay Ready, in milliseconds. */
  waveSoakMs: number;
};

/** How often is looked where no watch tells: whether the worker still is in contact, and what is shown. */
const LOOK_MS = 1000;
/** A soak that has ended is asked about; a deadline must not come in between. */
const MARGIN_MS = 2000;
/** Nodes that are asked for at once when a soak is over. */
const ASKED_AT_ONCE = 10;

/**
 * Waits until all nodes of a wave that were upgraded have been Ready for its soak without a break and without a reboot,
 * as this worker has seen it; whatever breaks lets the soak begin anew. A node that a newer NodeOpUpgrade wants is not
 * looked at: what is done to it says nothing of this one. A soak is over when the API server has been
 * asked for each of them once more. Reads only, so it may be repeated: another attempt begins the soak anew.
 *
 * Not open when that has not come within the soak and `strategy.gateTimeout`; the reason names the node. Where this
 * worker, or the API server, was away meanwhile, the nodes first get the time of a whole soak again.
 */
export async function soakWave(view: ClusterView, input: WaveSoakInput): Promise<PlaceAnswer> {
  assertCluster(view, input.cluster);
  const soak = new WaveSoak(view, input);
  const stop = soak.watch();
  try {
    return await waitInActivity(
      undefined,
      (signal) => soak.answer(signal),
      () => soak.says,
    );
  } finally {
    stop();
    await waitInActivity(undefined, (signal) => soak.showNone(signal));
  }
}

interface Broken {
  node: NodeRef;
  text: string;
}

class WaveSoak {
  /** What it waits for, for whoever looks at the activity. */
  says = '';
  private readonly view: ClusterView;
  private readonly input: WaveSoakInput;
  private readonly nodes: readonly NodeRef[];
  private readonly uids: ReadonlyMap<string, string>;
  /** Since when nothing has broken, and in which boot each node is. */
  private begun: { atMs: number; bootIDs: ReadonlyMap<string, string> } | undefined;
  /** What broke last. */
  private last: Broken | undefined;
  /** The nodes that are not Ready now, by name. */
  private readonly notReady = new Map<string, Broken>();
  private wake: () => void = () => undefined;
  private shown: { node: NodeRef; status: GateStatus } | undefined;
  private signal = AbortSignal.abort();
  /** Until when nothing is judged, because nobody has seen the nodes for a while. */
  private blindUntilMs = 0;

  constructor(view: ClusterView, input: WaveSoakInput) {
    this.view = view;
    this.input = input;
    this.nodes = input.nodes.filter((node) => endedWell(view, input, node));
    this.uids = new Map(this.nodes.map(({ name, uid }) => [name, uid]));
  }

  /** Hears of every change of the nodes, so that nothing is missed that is over at the next look. Returns its end. */
  watch(): () => void {
    for (const { name } of this.nodes) this.hear(name, this.view.nodes.get(name));
    return this.view.nodes.onChange((name, now) => this.hear(name, now));
  }

  async answer(signal: AbortSignal): Promise<PlaceAnswer> {
    this.signal = signal;
    const { waveSoakMs, spec, wave } = this.input;
    if (this.nodes.length === 0) return { open: true };
    const dueMs = Math.max(askedAtMs() + waveSoakMs + spec.gateTimeoutMs, Date.now() + waveSoakMs + MARGIN_MS);
    let contactMs = this.view.nodes.contactMs();
    for (;;) {
      const before = contactMs;
      contactMs = this.view.nodes.contactMs();
      if (contactMs < before || contactMs === 0) this.wasBlind();
      const broken = [...this.notReady.values()].find((one) => !this.isLeft(this.view.nodes.get(one.node.name)));
      if (broken === undefined) this.begun ??= this.begin();
      else this.breaks(broken);
      const { begun } = this;
      const leftMs = begun === undefined ? Infinity : begun.atMs + waveSoakMs - Date.now();
      // Something may break while they are being asked for.
      if (leftMs <= 0 && (await this.ask(signal)) && this.begun === begun) return { open: true };
      if (Date.now() >= Math.max(dueMs, this.blindUntilMs) && this.last !== undefined)
        return {
          open: false,
          reason: `wave ${wave} did not soak: its nodes were not Ready together for ${formatDuration(waveSoakMs)} within ${formatDuration(waveSoakMs + spec.gateTimeoutMs)}; ${this.last.text}`,
        };
      await this.untilNews(Math.max(0, Math.min(LOOK_MS, leftMs)), signal);
    }
  }

  /** The wait is over: nothing is shown of it. */
  async showNone(signal: AbortSignal): Promise<void> {
    await this.shown?.status.clear(null, signal);
  }

  /** What was shown is taken back beside the wait, which says on its own what it is for. */
  private showAnother(): void {
    void this.showNone(this.signal).catch(() => undefined);
  }

  private begin() {
    this.says = `soaks since ${new Date().toISOString()}`;
    this.showAnother();
    this.shown = undefined;
    const seen = this.nodes.map(({ name }) => [name, this.view.nodes.get(name)?.bootID ?? ''] as const);
    return { atMs: Date.now(), bootIDs: new Map(seen) };
  }

  /** Nobody has seen the nodes for a while: the soak begins anew, and they get their time again. */
  private wasBlind(): void {
    this.begun = undefined;
    this.blindUntilMs = Date.now() + this.input.waveSoakMs + contactNeededMs(this.input) + MARGIN_MS;
    this.says = 'the API server was away: the soak begins anew';
  }

  private hear(name: string, now: NodeView | undefined): void {
    if (!this.uids.has(name)) return;
    const text = now === undefined ? undefined : this.brokenText(now);
    if (now === undefined || text === undefined) this.notReady.delete(name);
    else {
      const broken = { node: { name, uid: now.uid }, text };
      if (now.ready) this.notReady.delete(name);
      else this.notReady.set(name, broken);
      this.begun = undefined;
      this.last = broken;
    }
    this.wake();
  }

  private brokenText(node: NodeView): string | undefined {
    const { name, uid, ready, bootID, notReadySince } = node;
    // Another machine of that name is no part of the wave.
    if (this.uids.get(name) !== uid) return undefined;
    const known = this.begun?.bootIDs.get(name);
    if (ready && (known === undefined || known === bootID)) return undefined;
    if (this.isLeft(node)) return undefined;
    if (!ready)
      return `node ${name} is not Ready${notReadySince === undefined ? '' : ` since ${notReadySince}`}: kubectl describe node ${name}`;
    return `node ${name} has rebooted: look at its console`;
  }

  /** Whether somebody else wants the node now. */
  private isLeft(node: NodeView | undefined): boolean {
    return node !== undefined && readSuperseded(this.view, this.input, node) !== undefined;
  }

  private breaks(broken: Broken): void {
    this.begun = undefined;
    this.last = broken;
    this.says = broken.text;
    if (this.shown?.node.name !== broken.node.name) {
      this.showAnother();
      this.shown = { node: broken.node, status: new GateStatus(this.view, { ...this.input, node: broken.node }) };
    }
    const reason = `${broken.text}; the soak of wave ${this.input.wave} begins anew when it is well`;
    void this.shown.status.show({ gate: 'WaveSoak', reason });
  }

  /** Not what a watch says that may hang: asks for every node. Answers whether all of them are well. */
  private async ask(signal: AbortSignal): Promise<boolean> {
    try {
      for (let first = 0; first < this.nodes.length; first += ASKED_AT_ONCE) {
        signal.throwIfAborted();
        const some = this.nodes.slice(first, first + ASKED_AT_ONCE);
        const seen = await Promise.all(some.map(({ name }) => orNone(readNode(this.view.client, name))));
        for (const node of seen) {
          const text = node === undefined ? undefined : this.brokenText(node);
          if (node === undefined || text === undefined) continue;
          this.breaks({ node: { name: node.name, uid: node.uid }, text });
          return false;
        }
      }
      return true;
    } catch (error) {
      if (!(error instanceof KubeError && error.retryable)) throw error;
      this.wasBlind();
      return false;
    }
  }

  /** Until a node of the wave changes, or for so long. */
  private async untilNews(ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const heard = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    const waited = pause(ms, AbortSignal.any([signal, over.signal]));
    try {
      await Promise.race([heard, waited]);
    } finally {
      over.abort(new Error('heard'));
      await Promise.allSettled([waited]);
    }
  }
}

/** Whether the node is the one that was meant, and did not fail in this attempt. */
function endedWell(view: ClusterView, context: RolloutContext, node: NodeRef): boolean {
  if (sameNode(view, node) === undefined) return false;
  const last = view.kairosNodes.get(node.name)?.status.lastAttempt;
  return last === undefined || !sameAttempt(last.request, context.request) || !isFailure(last.verdict);
}
