import { CancellationScope, condition, getExternalWorkflowHandle, patched, setHandler } from '@temporalio/workflow';
import { nodeWorkflowID, type NodeRef, type NodeResult, type WaveInput } from '../api/messages.ts';
import type { Asked, ControlAnswer } from '../api/control-messages.ts';
import { activitiesFor } from './activity-proxies.ts';
import { answerSignal, retryNodesSignal, skipNodeSignal, withdrawSignal } from './messages.ts';
import { NextPart, quietly } from './next-part.ts';
import { within } from './node-control.ts';
import { later, listed, skippedText } from './request-texts.ts';
import type { WaveState } from './wave-state.ts';

/** Since when a pause takes back a node that is marked and not cordoned. */
const PAUSE_REACHES_NODES = 'pause-reaches-nodes';

/** So many nodes are named in a command; for more of them there is a word. */
const MOST_NAMED = 50;

/** The token under which nobody waits for an answer. */
const NOBODY = '';

interface Skip {
  asked: Asked;
  /** Under which the rollout waits for answers. */
  tokens: string[];
}

/** What a rollout asks of its wave while it runs, node by node. */
export class WaveControl {
  private readonly input: WaveInput;
  private readonly state: WaveState;
  /** Nodes that are to be left out, and have not ended. */
  private readonly skips = new Map<string, Skip>();
  private readonly places = new Map<string, CancellationScope>();
  private readonly inHand = new Map<string, NodeRef>();
  /** Of those, whose workflows are there to be told something. */
  private readonly begun = new Set<string>();
  /** The workflow in which a large wave goes on. */
  readonly next = new NextPart();

  constructor(input: WaveInput, state: WaveState) {
    this.input = input;
    this.state = state;
    setHandler(skipNodeSignal, ({ token, node, asked }) => this.skip(node, asked, token));
    setHandler(retryNodesSignal, ({ token, nodes }) => this.handBack(token, nodes));
  }

  /** Leaves out what was asked for before the wave began. */
  async begin(): Promise<void> {
    for (const [node, asked] of Object.entries(this.input.skips ?? {})) await this.skip(node, asked);
  }

  /** Whether a person wants this node left out. */
  isLeftOut({ name }: NodeRef): boolean {
    return this.skips.has(name);
  }

  /** A wait for the place of one node: it ends when a person leaves that node out. */
  atItsGate<T>(node: NodeRef, wait: () => Promise<T>): Promise<T> {
    const scope = new CancellationScope();
    this.places.set(node.name, scope);
    return within(scope, wait);
  }

  /** The workflow of this node is being started. */
  takesInHand(node: NodeRef): void {
    this.inHand.set(node.name, node);
  }

  /** The workflow of this node has started. */
  started(node: NodeRef): void {
    this.begun.add(node.name);
  }

  /** The workflow of this node has ended: whoever asked for it is answered by how. */
  letGo(result: NodeResult): void {
    this.inHand.delete(result.node);
    this.begun.delete(result.node);
    const skip = this.skips.get(result.node);
    if (skip === undefined || result.outcome !== 'Ended') return;
    this.skips.delete(result.node);
    const message = result.skipped
      ? `node ${result.node} is left out, and back in service`
      : `node ${result.node} has ended as ${result.verdict ?? 'Unverified'}: ${result.message}`;
    for (const token of skip.tokens) this.answer(token, { accepted: result.skipped === true, message });
  }

  /** A node in hand that is not cordoned goes back, and is started again after the pause. */
  pause(): void {
    if (this.inHand.size === 0 || !patched(PAUSE_REACHES_NODES)) return;
    for (const node of this.inHand.values()) void this.withdraw(node, { pause: true });
  }

  /** `token`: under which the rollout waits for the answer; without it nobody does. */
  private async skip(name: string, asked: Asked, token?: string): Promise<void> {
    const { state } = this;
    if (this.isLater(name)) return this.skipLater(name, asked, token);
    const node = state.nodes.find((one) => one.name === name);
    const accept = (message: string) => this.answer(token, { accepted: true, message });
    const refuse = (message: string) => this.answer(token, { accepted: false, message });
    if (state.keepEnded(name)) return accept(`node ${name} is not tried again`);
    const ended = state.endOf(name);
    if (ended?.skipped === true) return accept(`node ${name} is left out already`);
    if (ended !== undefined) return refuse(`node ${name} has ended as ${ended.verdict}: ${ended.message}`);
    if (node === undefined) return refuse(this.notHere(name));
    if (state.stopped !== undefined && !this.inHand.has(name)) return refuse(this.stopText(name));
    const skip = this.skips.get(name) ?? { asked, tokens: [] };
    if (token !== undefined) skip.tokens.push(token);
    this.skips.set(name, skip);
    const taken = state.take(name);
    if (this.inHand.has(name)) {
      if (token !== undefined) await this.withdraw(node, { skip: { token, asked } });
      return;
    }
    this.places.get(name)?.cancel();
    if (taken) await this.leaveOut(node);
    else accept(`node ${name} is left out: it was not touched`);
  }

  private stopText = (name: string) => `wave ${this.input.name} has stopped: node ${name} is not touched`;

  private isOfWave = (name: string) => this.input.nodes.some((node) => node.name === name);

  /** Whether the wave comes to a node in another workflow only, which is not over. */
  private isLater = (name: string) =>
    !this.next.isOver && this.isOfWave(name) && !this.state.nodes.some((node) => node.name === name);

  private notHere(name: string): string {
    const { name: wave } = this.input;
    return this.isOfWave(name)
      ? `node ${name} has ended: its part of wave ${wave} is over`
      : `node ${name} is not part of wave ${wave}`;
  }

  private skipLater(name: string, asked: Asked, token: string | undefined): void {
    const { next, state } = this;
    if (next.hasBegun)
      return next.tell(
        (part) => part.signal(skipNodeSignal, { token: token ?? NOBODY, node: name, asked }),
        () => void this.skip(name, asked, token),
      );
    if (state.stopped !== undefined) return this.answer(token, { accepted: false, message: this.stopText(name) });
    next.skips.set(name, asked);
    this.answer(token, { accepted: true, message: `node ${name} is left out: it is not touched when its turn comes` });
  }

  /** Ends a node as left out. It counts as one that runs until then, or the wave could end before. */
  async leaveOut(node: NodeRef): Promise<void> {
    const { state } = this;
    const skip = this.skips.get(node.name);
    if (skip === undefined) return;
    const message = skippedText(skip.asked);
    this.skips.delete(node.name);
    state.running += 1;
    try {
      const { call } = activitiesFor(this.input.timing, node.name);
      await CancellationScope.nonCancellable(() =>
        call.settleNode({ ...state.context, node, verdict: 'Skipped', message }),
      );
      state.end({ node: node.name, outcome: 'Ended', verdict: 'Skipped', message, skipped: true });
    } finally {
      state.running -= 1;
    }
    for (const token of skip.tokens)
      this.answer(token, { accepted: true, message: `node ${node.name} is left out: it was not touched` });
  }

  /**
   * Takes nodes that have failed, or were left out, out of the counts: the rollout tries them again after this wave.
   * Without `names` all that have failed; what the parts behind this one say of theirs is then said by none.
   */
  private handBack(token: string, names: string[] | undefined): void {
    const { state, next } = this;
    const [behind] = names?.filter(this.isLater) ?? [];
    if (behind !== undefined && !next.hasBegun) return this.takeIn(token, behind);
    const hasNone = names === undefined && state.failedNodes().length === 0;
    if (behind !== undefined || (hasNone && next.isOpen)) return this.handBackLater(token, names);
    if (names === undefined && next.isOpen) this.handBackLater(NOBODY, undefined);
    const { name } = this.input;
    const wanted = names?.filter((node) => !state.isHandedBack(node)) ?? state.failedNodes();
    if (names !== undefined && wanted.length === 0)
      return this.answer(token, { accepted: true, message: `to be tried again already: ${listed(names)}` });
    const why = wanted.map((node) => this.notRetried(node)).find((reason) => reason !== undefined);
    if (why !== undefined) return this.answer(token, { accepted: false, message: why });
    if (wanted.length === 0)
      return this.answer(token, { accepted: false, message: `no node of wave ${name} has failed so far` });
    if (state.stopped !== undefined) {
      return this.answer(token, later(this.stoppedText(wanted)));
    }
    for (const node of wanted) state.handBack(node);
    this.answer(token, { accepted: true, message: `tried again after wave ${name}: ${listed(wanted)}` });
  }

  private stoppedText(nodes: readonly string[]): string {
    const { name, request } = this.input;
    const { kind, namespace, name: of } = request;
    const names = nodes.length > MOST_NAMED ? '*' : nodes.join(',');
    const command =
      kind === 'NodeOpUpgrade'
        ? `kubectl annotate -n ${namespace} nodeopupgrade ${of} --overwrite kairos.io/retry-node="${names}"`
        : 'kubectl annotate kairosnode NAME --overwrite kairos.io/retry="$(date +%s)"';
    return `wave ${name} has stopped (${this.state.stopped?.slice(0, 300) ?? ''}): the attempt ends when its nodes in hand have ended; the next one tries again, and goes on with the rest: ${command}`;
  }

  /** A node of a part that has not begun. */
  private takeIn(token: string, node: string): void {
    const accepted = this.next.skips.delete(node);
    const now = accepted ? 'is not left out any more' : 'has not ended';
    this.answer(token, { accepted, message: `node ${node} ${now}: it is upgraded in its turn` });
  }

  private handBackLater(token: string, nodes: string[] | undefined): void {
    this.next.tell(
      (part) => part.signal(retryNodesSignal, { token, ...(nodes === undefined ? {} : { nodes }) }),
      () => this.handBack(token, nodes),
    );
  }

  private notRetried(node: string): string | undefined {
    const ended = this.state.endOf(node);
    if (ended === undefined && this.state.nodes.every(({ name }) => name !== node)) return this.notHere(node);
    if (ended === undefined) return `node ${node} has not ended: it is upgraded in its turn`;
    return ended.again ? undefined : `node ${node} has ended as ${ended.verdict}: there is nothing to try again`;
  }

  /** A workflow that is being started is told when it is there: before that, nobody would hear it. */
  private async withdraw(node: NodeRef, what: { skip?: { token: string; asked: Asked }; pause?: true }): Promise<void> {
    const { cluster, rolloutID } = this.input;
    await quietly(async () => {
      await condition(() => this.begun.has(node.name) || !this.inHand.has(node.name));
      if (!this.inHand.has(node.name) || (what.pause === true && !this.state.isPaused)) return;
      await getExternalWorkflowHandle(nodeWorkflowID(cluster, node)).signal(withdrawSignal, { rolloutID, ...what });
    });
  }

  private answer(token: string | undefined, answer: ControlAnswer): void {
    if (token === undefined || token === NOBODY) return;
    void quietly(() => getExternalWorkflowHandle(this.input.rolloutID).signal(answerSignal, { token, ...answer }));
  }
}
