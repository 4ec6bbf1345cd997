import { ApplicationFailure, type SignalDefinition, type UpdateDefinition } from '@temporalio/common';
import {
  CancellationScope,
  condition,
  currentUpdateInfo,
  patched,
  setHandler,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import type { FailedNode, NodeRef, WaveResult } from '../api/messages.ts';
import type { Asked, ControlAnswer, ControlState } from '../api/control-messages.ts';
import type { PlannedWave } from '../api/plan-messages.ts';
import {
  answerSignal,
  requests,
  retryNodesSignal,
  skipNodeSignal,
  type AbortMessage,
  type ApproveMessage,
  type AskMessage,
  type RetryMessage,
  type SkipMessage,
} from './messages.ts';
import { SEGMENT_NODES } from '../policy/waves.ts';
import { approvalRefusal, askedIn, askedText, listed, namesIn, unknownNode } from './request-texts.ts';
import type { RolloutRecord } from './rollout-record.ts';
import type { wave } from './wave.ts';

/** So many answers are remembered: a request that is repeated comes soon, or not at all. */
const ANSWERS = 200;
/** So many nodes can be left out of one rollout by name; more are left out by its selector. */
const SKIPPED = 100;

/** Since when a wave is asked again about a node that was left out, where it may have been taken back in since. */
const ASKED_AGAIN = 'left-out-asked-again';

const ENDED: ReadonlySet<string> = new Set(['Completed', 'Failed', 'Cancelled', 'Planned']);

const yes = (message: string): ControlAnswer => ({ accepted: true, message });
const no = (message: string): ControlAnswer => ({ accepted: false, message });

/** The wave that runs: its handle is there once it has started. */
interface RunningWave {
  planned: PlannedWave;
  handle?: ChildWorkflowHandle<typeof wave>;
}

/**
 * What people ask of a rollout beside a pause: to approve a wave, leave nodes out, try nodes again, end it. Each is
 * refused with the reason and the next step, or done once, whoever repeats it, and noted with who, when and why.
 */
export class RolloutRequests {
  readonly state: ControlState;
  /** Ends what the rollout does now, by an abort. */
  readonly scope = new CancellationScope();
  private readonly record: RolloutRecord;
  private planned: PlannedWave[] | undefined;
  private running: RunningWave | undefined;
  /** No wave will follow any more. */
  private ending = false;
  /** How the nodes of the wave of retries had ended before. */
  private before: { failed: FailedNode[]; leftOut: ControlState['skipped'] } = { failed: [], leftOut: [] };
  private tokens = 0;
  /** The waves that were asked to hand nodes back: what is left out there may have been taken back in. */
  private readonly handedOut = new Set<string>();
  private readonly answers: Record<string, ControlAnswer> = {};

  constructor(record: RolloutRecord, state: ControlState) {
    this.record = record;
    this.state = state;
    record.asked = state;
    setHandler(answerSignal, ({ token, accepted, message }) => void (this.answers[token] ??= { accepted, message }));
    this.take<ApproveMessage>(
      'approve',
      'Start a wave that waits for approval; also ahead of its turn. {"wave": "…", "reason": "…", "who": "…"}',
      ({ wave: name }) => this.refuseApproval(textOf(name)),
      ({ wave: name }, asked) => this.approve(textOf(name), asked),
    );
    this.take<SkipMessage>(
      'skip',
      'Leave nodes out, up to their point of no return. {"node": "worker-3,worker-4", "reason": "…", "who": "…"}',
      ({ node }) => this.refuseNames(textOf(node)),
      ({ node }, asked) => this.each(textOf(node), (name) => this.skip(name, asked)),
    );
    this.take<RetryMessage>(
      'retry',
      'Try failed nodes again after the wave that runs; {} tries all of them. {"node": "worker-3", "reason": "…"}',
      ({ node }) => (isAll(node) ? undefined : this.refuseNames(textOf(node))),
      ({ node }) => (isAll(node) ? this.retryAll() : this.each(textOf(node), (name) => this.retry(name))),
    );
    this.take<AbortMessage>(
      'abort',
      'End the rollout: nodes before their point of no return go back to service. {"reason": "…", "who": "…"}',
      () => undefined,
      (_message, asked) => this.abort(asked),
    );
  }

  /** The plan is made. Those who asked before are answered now. */
  knows(waves: PlannedWave[]): void {
    this.planned = [...waves];
  }

  /** Waves that are found while the others run. */
  joins(waves: readonly PlannedWave[]): void {
    this.planned?.push(...waves);
  }

  /** A wave is about to start; answers which of its nodes are to be left out. */
  begins(planned: PlannedWave): Record<string, Asked> {
    this.running = { planned };
    this.state.waves[planned.name] = 'Running';
    const names = new Set(planned.nodes.map(({ name }) => name));
    return Object.fromEntries(Object.entries(this.state.skips).filter(([name]) => names.has(name)));
  }

  /** The wave has started: it is told now what was asked meanwhile. */
  started(handle: ChildWorkflowHandle<typeof wave>): void {
    if (this.running !== undefined) this.running.handle = handle;
  }

  /**
   * The wave is over, with this result where it had one. What was to be left out of it was, or has ended. Nodes that it
   * was to try again and did not are what they were; without a result that is all of them.
   */
  over(planned: PlannedWave, result: WaveResult | undefined): void {
    const { skipped, left, failed = [], again = [] } = result ?? { left: planned.nodes.map(({ name }) => name) };
    this.running = undefined;
    this.state.waves[planned.name] = 'Over';
    if (planned.try !== undefined) this.putBack(left ?? []);
    // One that was to be tried again, too: left out until then.
    for (const name of [...(skipped ?? []), ...again.filter((one) => one.skipped).map((one) => one.name)]) {
      const asked = this.state.skips[name];
      if (asked !== undefined) this.state.skipped.push({ name, ...asked });
    }
    const retriable = new Set([...failed, ...again].map(({ name }) => name).concat(skipped ?? []));
    const { group, budget } = planned;
    for (const node of planned.nodes) {
      delete this.state.skips[node.name];
      if (retriable.has(node.name)) this.state.ended[node.name] = { node, group, budget };
    }
  }

  private putBack(left: readonly string[]): void {
    const { failed, leftOut } = this.before;
    this.record.putBack(failed.filter(({ name }) => left.includes(name)));
    for (const one of leftOut.filter(({ name }) => left.includes(name))) {
      this.state.skipped.push(one);
      if (!failed.some(({ name }) => name === one.name)) this.record.countUp('Skipped');
    }
  }

  isApproved({ name, approval }: PlannedWave): boolean {
    return approval !== true || this.state.approvals.some((given) => given.wave === name);
  }

  /**
   * Waits until a person approves the wave, or asks for something that comes before it: false then. It has no deadline:
   * a person's wait is a person's to end, by an approval or an abort.
   */
  async approval(planned: PlannedWave): Promise<boolean> {
    const { record } = this;
    record.state.approval = { wave: planned.name, since: new Date().toISOString() };
    await record.report('Running', record.approvalText(planned.name));
    try {
      await condition(() => this.isApproved(planned) || this.state.retries.length > 0);
      return this.isApproved(planned);
    } finally {
      delete record.state.approval;
    }
  }

  get hasRetries(): boolean {
    return this.state.retries.length > 0;
  }

  /** The wave of the nodes that are to be tried again. They are failures no more until it has ended. */
  nextRetry(): PlannedWave {
    const { state, record } = this;
    // The control plane first, and by itself: it has gates and a budget of its own.
    const group = state.retries.some((one) => one.group === 'control-plane') ? 'control-plane' : 'worker';
    const retries = state.retries.filter((one) => one.group === group);
    const nodes = retries.map(({ node }) => node);
    const budget = retries.reduce((least, one) => Math.min(least, one.budget), Infinity);
    state.tries += 1;
    const names = new Set(nodes.map(({ name }) => name));
    const leftOut = state.skipped.filter(({ name }) => names.has(name));
    this.before = { failed: record.takeBack(names), leftOut };
    for (const { name } of leftOut) {
      state.skipped = state.skipped.filter((one) => one.name !== name);
      // One that its wave handed back is among the failed ones.
      if (!this.before.failed.some((one) => one.name === name)) record.countDown('Skipped');
    }
    state.retries = state.retries.filter((one) => one.group !== group);
    // No wave that a person names has a dot in its name.
    const planned: PlannedWave = { name: `retry.${state.tries}`, group, nodes, budget, try: state.tries };
    if (nodes.length > SEGMENT_NODES) planned.segment = SEGMENT_NODES;
    this.planned?.push(planned);
    return planned;
  }

  /** No wave follows any more, whatever is asked from here on. Answers what was asked and cannot be done. */
  close(): string {
    this.ending = true;
    const names = this.state.retries.map(({ node }) => node.name);
    return names.length === 0 ? '' : `; not tried again, as was asked: ${listed(names)}`;
  }

  /** Nodes that a wave handed back: tried again when it is over. */
  handedBack({ nodes, group, budget }: PlannedWave, names: readonly string[]): void {
    for (const node of nodes)
      if (names.includes(node.name) && !this.isRetried(node.name)) this.state.retries.push({ node, group, budget });
  }

  private take<Message extends AskMessage>(
    what: keyof typeof requests,
    description: string,
    refuse: (message: Message) => string | undefined,
    act: (message: Message, asked: Asked) => Promise<ControlAnswer> | ControlAnswer,
  ): void {
    const { update, signal } = requests[what] as {
      update: UpdateDefinition<string, [Message?]>;
      signal: SignalDefinition<[Message?]>;
    };
    const answerTo = async (message: Message, id?: string): Promise<ControlAnswer> => {
      const known = id === undefined ? undefined : this.state.answered[id];
      if (known !== undefined) return known;
      if (what !== 'abort') await condition(() => this.planned !== undefined || this.isClosed() !== undefined);
      const asked = askedIn(message);
      const refused = this.isClosed(what) ?? refuse(message);
      const answer = refused === undefined ? await act(message, asked) : no(refused);
      await this.note(what, message, asked, answer, id);
      return answer;
    };
    // A cancel of the rollout does not end it: whoever asked is answered, and a signal must not close the workflow.
    const ask = (message: Message, id?: string) => CancellationScope.nonCancellable(() => answerTo(message, id));
    setHandler(signal, async (message) => void (await ask(given(message))), { description });
    setHandler(
      update,
      async (message) => {
        const answer = await ask(given(message), currentUpdateInfo()?.id);
        if (!answer.accepted) throw ApplicationFailure.nonRetryable(answer.message, 'Refused');
        return answer.message;
      },
      {
        description,
        validator: (message?: Message) => {
          const asked = given(message);
          // What the watcher asks is answered, and remembered, in any case: it asks until it has an answer.
          if (asked.by === 'kubectl' || this.state.answered[currentUpdateInfo()?.id ?? ''] !== undefined) return;
          const refused = this.isClosed(what) ?? (this.planned === undefined ? undefined : refuse(asked));
          if (refused !== undefined) throw ApplicationFailure.nonRetryable(refused, 'Refused');
        },
      },
    );
  }

  /** Why nothing can be asked any more, or undefined. */
  private isClosed(what?: keyof typeof requests): string | undefined {
    const { context, state } = this.record;
    const ended = ENDED.has(state.phase) || state.phase === 'Cancelling';
    if (!ended && !this.ending && this.state.aborted === undefined) return undefined;
    const phase = ended ? state.phase : this.state.aborted === undefined ? 'ending' : 'Cancelling';
    const { namespace, name, kind } = context.request;
    const next =
      what === 'retry' && kind === 'NodeOpUpgrade'
        ? `: the next attempt is asked for by kubectl annotate -n ${namespace} nodeopupgrade ${name} --overwrite kairos.io/retry="$(date +%s)"`
        : '';
    return `rollout ${context.rolloutID} is ${phase}: there is nothing to ${what ?? 'ask'}${next}`;
  }

  private async note(
    what: keyof typeof requests,
    message: AskMessage & { wave?: unknown; node?: unknown },
    asked: Asked,
    answer: ControlAnswer,
    id: string | undefined,
  ): Promise<void> {
    const { state, record } = this;
    const of = textOf(message.wave ?? message.node).slice(0, 300);
    const short = { ...answer, message: answer.message.slice(0, 900) };
    state.requests = [...state.requests, { what: of === '' ? what : `${what} ${of}`, ...asked, ...short }].slice(-20);
    if (id !== undefined) {
      const kept = Object.entries(state.answered).slice(1 - ANSWERS);
      state.answered = Object.fromEntries([...kept, [id, short]]);
    }
    // An end is written once, by the rollout itself.
    if (!ENDED.has(record.state.phase)) await record.write();
  }

  private refuseApproval(name: string): string | undefined {
    return approvalRefusal(name, this.planned ?? []);
  }

  private approve(name: string, asked: Asked): ControlAnswer {
    const before = this.state.approvals.find((given) => given.wave === name);
    if (before !== undefined) return yes(`wave ${name} is approved since ${before.at}, by ${askedText(before)}`);
    this.state.approvals.push({ wave: name, ...asked });
    const waits = this.record.state.approval?.wave === name;
    return yes(`wave ${name} is approved${waits ? '' : ': it does not wait when its turn comes'}`);
  }

  private refuseNames(text: string): string | undefined {
    const names = namesIn(text);
    const nodes = (this.planned ?? []).flatMap((one) => one.nodes);
    if (names.length === 0)
      return `name the nodes, as in {"node": "${nodes[0]?.name ?? 'worker-1'}"}: ${listed(nodes.map(({ name }) => name))}`;
    if (names.length > SKIPPED) return `name at most ${SKIPPED} nodes at once`;
    const unknown = names.find(
      (name) => this.state.ended[name] === undefined && !nodes.some((node) => node.name === name),
    );
    return unknown === undefined ? undefined : unknownNode(unknown, nodes);
  }

  /** One answer for several nodes: accepted where each of them was. */
  private async each(text: string, act: (name: string) => Promise<ControlAnswer>): Promise<ControlAnswer> {
    const answers = await Promise.all(namesIn(text).map(act));
    const message = answers.map((answer) => answer.message).join('; ');
    return { accepted: answers.every((answer) => answer.accepted), message };
  }

  /** The wave that has a node, or will have it: the last one, where it is tried again. */
  private waveOf(name: string): { planned: PlannedWave; node: NodeRef; at: 'Ahead' | 'Running' | 'Over' } {
    for (const planned of (this.planned ?? []).toReversed()) {
      const node = planned.nodes.find((one) => one.name === name);
      if (node !== undefined) return { planned, node, at: this.state.waves[planned.name] ?? 'Ahead' };
    }
    // Of a wave that an earlier run of this rollout has finished.
    const before = this.state.ended[name];
    if (before !== undefined)
      return { planned: { ...before, name: 'before', nodes: [before.node] }, node: before.node, at: 'Over' };
    throw ApplicationFailure.nonRetryable(`node ${name} is not part of this rollout`, 'Refused');
  }

  private async skip(name: string, asked: Asked): Promise<ControlAnswer> {
    const { state } = this;
    const { planned, at } = this.waveOf(name);
    if (this.isRetried(name)) {
      state.retries = state.retries.filter(({ node }) => node.name !== name);
      return yes(`node ${name} is not tried again`);
    }
    if (at === 'Over') return no(`node ${name} has ended: wave ${planned.name} is over`);
    if (Object.keys(state.skips).length + state.skipped.length >= SKIPPED)
      return no(`${SKIPPED} nodes are left out already: leave out more by spec.nodeSelector`);
    const known = state.skips[name];
    if (known !== undefined && !(this.handedOut.has(planned.name) && patched(ASKED_AGAIN)))
      return yes(`node ${name} is left out already, by ${askedText(known)}`);
    state.skips[name] ??= asked;
    if (at === 'Ahead') return yes(`node ${name} is left out: it is not touched when wave ${planned.name} begins`);
    const answer = await this.askWave(planned, (handle, token) =>
      handle.signal(skipNodeSignal, { token, node: name, asked }),
    );
    if (answer?.accepted === false && known === undefined) delete state.skips[name];
    if (answer !== undefined) return answer;
    return state.skipped.some((one) => one.name === name)
      ? yes(`node ${name} is left out`)
      : no(`node ${name} has ended: wave ${planned.name} is over`);
  }

  private isRetried = (name: string) => this.state.retries.some(({ node }) => node.name === name);

  private async retry(name: string): Promise<ControlAnswer> {
    const { state, record } = this;
    const { planned, node, at } = this.waveOf(name);
    if (this.isRetried(name)) return yes(`node ${name} is to be tried again already`);
    if (at === 'Running') return this.retryInWave(planned, [name]);
    if (at === 'Ahead') {
      if (state.skips[name] === undefined) return no(`node ${name} has not been begun: it is upgraded in its turn`);
      delete state.skips[name];
      return yes(`node ${name} is not left out any more: it is upgraded in its turn`);
    }
    if (!record.failed.some((one) => one.name === name) && !state.skipped.some((one) => one.name === name))
      return no(`node ${name} has not failed: there is nothing to try again`);
    state.retries.push({ node, group: planned.group, budget: planned.budget });
    return yes(`node ${name} is tried again before any further wave`);
  }

  private async retryAll(): Promise<ControlAnswer> {
    const { record, running } = this;
    const failed = record.failed.map(({ name }) => name).filter((name) => !this.isRetried(name));
    const before = await Promise.all(failed.map((name) => this.retry(name)));
    const inWave = running === undefined ? undefined : await this.retryInWave(running.planned, undefined);
    const done = before.filter(({ accepted }) => accepted).length;
    if (done === 0) return inWave ?? no('no node of this rollout has failed so far');
    const these = `tried again before any further wave: ${listed(failed)}`;
    return yes(inWave?.accepted === true ? `${these}; ${inWave.message}` : these);
  }

  private async retryInWave(planned: PlannedWave, nodes: string[] | undefined): Promise<ControlAnswer> {
    const answer = await this.askWave(planned, (handle, token) =>
      handle.signal(retryNodesSignal, { token, ...(nodes === undefined ? {} : { nodes }) }),
    );
    if (answer?.accepted === true) this.handedOut.add(planned.name);
    if (answer !== undefined) return answer;
    // It ended meanwhile: what it has handed back is to be tried again, what it has not is looked up there.
    if (nodes === undefined)
      return this.isClosed('retry') === undefined ? this.retryAll() : no(this.isClosed('retry') ?? '');
    if (nodes.every(this.isRetried)) return yes(`tried again before any further wave: ${listed(nodes)}`);
    return this.isClosed('retry') === undefined
      ? this.each(nodes.join(','), (name) => this.retry(name))
      : no(this.isClosed('retry') ?? '');
  }

  private abort(asked: Asked): ControlAnswer {
    this.state.aborted = asked;
    this.scope.cancel();
    return yes(
      'aborted: nodes before their point of no return go back to service, the others are taken to their verdict',
    );
  }

  /** Asks the wave that runs; undefined when it ended without an answer. */
  private async askWave(
    planned: PlannedWave,
    send: (handle: ChildWorkflowHandle<typeof wave>, token: string) => Promise<void>,
  ): Promise<ControlAnswer | undefined> {
    this.tokens += 1;
    const token = `${planned.name}/${this.tokens}`;
    const runs = () => this.running?.planned.name === planned.name;
    await CancellationScope.nonCancellable(async () => {
      await condition(() => !runs() || this.running?.handle !== undefined);
      const handle = this.running?.handle;
      if (!runs() || handle === undefined) return;
      try {
        await send(handle, token);
      } catch {
        // The wave has just ended.
      }
      await condition(() => this.answers[token] !== undefined || !runs());
    });
    const answer = this.answers[token];
    delete this.answers[token];
    return answer;
  }
}

/** What a person sent, where it is the object that it should be. */
const given = <Message extends AskMessage>(message: Message | undefined): Message =>
  (typeof message === 'object' && message !== null ? message : {}) as Message;

const textOf = (value: unknown): string => (typeof value === 'string' ? value.trim() : '');
const isAll = (node: unknown): boolean => node === undefined || textOf(node) === '*';
