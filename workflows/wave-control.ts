import {
  CancellationScope,
  condition,
  getExternalWorkflowHandle,
  patched,
  setHandler,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import { nodeWorkflowID, type NodeRef, type NodeResult, type WaveInput } from '../api/messages.ts';
import type { Asked, ControlAnswer } from '../api/control-messages.ts';
import { activitiesFor } from './activity-proxies.ts';
import { answerSignal, retryNodesSignal, skipNodeSignal, withdrawSignal } from './messages.ts';
import { within } from './node-control.ts';
import { later, listed, skippedText } from './request-texts.ts';
import type { wave } from './wave.ts';
import type { WaveState } from './wave-state.ts';

/** Since when a pause takes back a node that is marked and not cordoned. */
const PAUSE_REACHES_NODES = 'pause-reaches-nodes';

/** So many nodes are handed back at once: the result of a wave names each of them, within what a message may hold. */
const HANDED_BACK = 500;

interface Skip {
  asked: Asked;
  /** Under which the rollout waits for an answer; absent where it does not. */
  token?: string;
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
  /** The workflow in which a large wave goes on, once it has started; and what is to be left out there. */
  private next: ChildWorkflowHandle<typeof wave> | undefined;
  private readonly skipsLater = new Map<string, Asked>();
  private handedOver = new Set<string>();

  constructor(input: WaveInput, state: WaveState) {
    this.input = input;
    this.state = state;
    setHandler(skipNodeSignal, ({ token, node, asked }) => this.skip(node, { token, asked }));
    setHandler(retryNodesSignal, ({ token, nodes }) => this.handBack(token, nodes));
  }

  /** Leaves out what was asked for before the wave began. */
  async begin(): Promise<void> {
    for (const [node, asked] of Object.entries(this.input.skips ?? {})) await this.skip(node, { asked });
  }

  /** Nodes that are to be left out where the wave goes on. */
  skipsForNext(): Record<string, Asked> {
    this.handedOver = new Set(this.skipsLater.keys());
    return Object.fromEntries(this.skipsLater);
  }

  /** The wave goes on there: what was asked while that was being started is handed on. */
  goesOnIn(next: ChildWorkflowHandle<typeof wave>): void {
    this.next = next;
    for (const [node, asked] of this.skipsLater)
      if (!this.handedOver.has(node)) void quietly(() => next.signal(skipNodeSignal, { token: '', node, asked }));
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
    this.answer(skip.token, { accepted: result.skipped === true, message });
  }

  /** A node in hand that is not cordoned goes back, and is started again after the pause. */
  pause(): void {
    if (this.inHand.size === 0 || !patched(PAUSE_REACHES_NODES)) return;
    for (const node of this.inHand.values()) void this.withdraw(node, { pause: true });
  }

  private async skip(name: string, skip: Skip): Promise<void> {
    const { state } = this;
    const ended = state.endOf(name);
    const node = state.nodes.find((one) => one.name === name);
    if (node === undefined && this.isLater(name)) return this.skipLater(name, skip);
    const refuse = (message: string) => this.answer(skip.token, { accepted: false, message });
    if (node === undefined) return refuse(`node ${name} is not part of wave ${this.input.name}`);
    if (state.keepEnded(name))
      return this.answer(skip.token, { accepted: true, message: `node ${name} is not tried again` });
    if (ended !== undefined) return refuse(`node ${name} has ended as ${ended.verdict}: ${ended.message}`);
    if (state.stopped !== undefined && !this.inHand.has(name))
      return refuse(`wave ${this.input.name} has stopped: node ${name} is not touched`);
    this.skips.set(name, skip);
    const taken = state.take(name);
    if (this.inHand.has(name)) {
      if (skip.token !== undefined) await this.withdraw(node, { skip: { token: skip.token, asked: skip.asked } });
      return;
    }
    this.places.get(name)?.cancel();
    if (taken) await this.leaveOut(node);
    else this.answer(skip.token, { accepted: true, message: `node ${name} is left out: it was not touched` });
  }

  /** Whether the wave comes to a node in another workflow only. */
  private isLater = (name: string) => this.input.nodes.some((node) => node.name === name) && !this.isHere(name);
  private isHere = (name: string) => this.state.nodes.some((node) => node.name === name);

  private async skipLater(name: string, { token, asked }: Skip): Promise<void> {
    const { next } = this;
    if (next !== undefined && token !== undefined)
      return quietly(() => next.signal(skipNodeSignal, { token, node: name, asked }));
    this.skipsLater.set(name, asked);
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
    this.answer(skip.token, { accepted: true, message: `node ${node.name} is left out: it was not touched` });
  }

  /** Takes nodes that have failed, or were left out, out of the counts: the rollout tries them again after this wave. */
  private handBack(token: string, names: string[] | undefined): void {
    const { state, next } = this;
    const isThere = names?.every(this.isLater) ?? (state.failedNodes().length === 0 && next !== undefined);
    if (isThere && next !== undefined)
      return void quietly(() =>
        next.signal(retryNodesSignal, { token, ...(names === undefined ? {} : { nodes: names }) }),
      );
    // The answer is that of this part: the other one has failed nodes of its own, or none.
    if (names === undefined && next !== undefined)
      void quietly(() => next.signal(retryNodesSignal, { token: `${token}+` }));
    const { name } = this.input;
    const failed = state.failedNodes();
    const wanted = names?.filter((node) => !state.isHandedBack(node)) ?? failed.slice(0, HANDED_BACK);
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
    const rest = names === undefined ? failed.length - wanted.length : 0;
    const more = rest === 0 ? '' : `; ${rest} more have failed: ask again for them`;
    this.answer(token, { accepted: true, message: `tried again after wave ${name}: ${listed(wanted)}${more}` });
  }

  private stoppedText(nodes: readonly string[]): string {
    const { name, request } = this.input;
    const { kind, namespace, name: of } = request;
    const command =
      kind === 'NodeOpUpgrade'
        ? `kubectl annotate -n ${namespace} nodeopupgrade ${of} --overwrite kairos.io/retry-node="${nodes.join(',')}"`
        : 'kubectl annotate kairosnode NAME --overwrite kairos.io/retry="$(date +%s)"';
    return `wave ${name} has stopped (${this.state.stopped?.slice(0, 300) ?? ''}): the attempt ends when its nodes in hand have ended; the next one tries again, and goes on with the rest: ${command}`;
  }

  private notRetried(node: string): string | undefined {
    const ended = this.state.endOf(node);
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
    if (token === undefined || token === '') return;
    void quietly(() => getExternalWorkflowHandle(this.input.rolloutID).signal(answerSignal, { token, ...answer }));
  }
}

/** Whoever it is for may have closed: then nobody waits for it. */
async function quietly(send: () => Promise<void>): Promise<void> {
  try {
    await CancellationScope.nonCancellable(send);
  } catch {
    // Closed: what it was asked is answered by how it ended.
  }
}
