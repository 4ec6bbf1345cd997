import { ApplicationFailure, type SignalDefinition, type UpdateDefinition } from '@temporalio/common';
import { CancellationScope, condition, currentUpdateInfo, setHandler } from '@temporalio/workflow';
import { NEXT_ATTEMPT, type WaveResult } from '../api/messages.ts';
import type { Asked, ControlAnswer, ControlState } from '../api/control-messages.ts';
import type { PlannedWave } from '../api/plan-messages.ts';
import { askedText } from '../policy/asked.ts';
import { KnownWaves, type WaveHandle } from './known-waves.ts';
import {
  requests,
  type AbortMessage,
  type ApproveMessage,
  type AskMessage,
  type RetryMessage,
  type SkipMessage,
} from './messages.ts';
import { isAll, NodeRequests } from './node-requests.ts';
import { approvalRefusal, askedIn, later, listed, no, textOf, yes } from './request-texts.ts';
import type { RolloutRecord } from './rollout-record.ts';

/** So many answers are remembered: a request that is repeated comes soon, or not at all. */
const ANSWERS = 200;
/** So many requests are shown to people. */
const KEPT = 20;

const ENDED: ReadonlySet<string> = new Set(['Completed', 'Failed', 'Cancelled', 'Planned']);

type Question = keyof typeof requests | 'pause' | 'resume';

/**
 * What people ask of a rollout beside a pause: to approve a wave, leave nodes out, try nodes again, end it. Each is
 * refused with the reason and the next step, or done once, whoever repeats it, and noted with who, when and why.
 */
export class RolloutRequests {
  readonly state: ControlState;
  /** Ends what the rollout does now, by an abort. */
  readonly scope = new CancellationScope();
  private readonly record: RolloutRecord;
  private readonly waves: KnownWaves;
  private readonly nodes: NodeRequests;
  /** No wave will follow any more. */
  private ending = false;

  constructor(record: RolloutRecord, state: ControlState) {
    this.record = record;
    this.state = state;
    record.asked = state;
    this.waves = new KnownWaves(state, () => ENDED.has(record.state.phase));
    this.nodes = new NodeRequests(record, state, this.waves, (what) => this.isClosed(what));
    const { nodes } = this;
    this.take<ApproveMessage>(
      'approve',
      'Start a wave that waits for approval; also ahead of its turn. {"wave": "…", "reason": "…", "who": "…"}',
      ({ wave: name }) => approvalRefusal(textOf(name), this.waves.all),
      ({ wave: name }, asked) => this.approve(textOf(name), asked),
    );
    this.take<SkipMessage>(
      'skip',
      'Leave nodes out, up to their point of no return. {"node": "worker-3,worker-4", "reason": "…", "who": "…"}',
      ({ node }) => nodes.refuseSkips(textOf(node)),
      ({ node }, asked) => nodes.skipAll(textOf(node), asked),
    );
    this.take<RetryMessage>(
      'retry',
      'Try failed nodes again after the wave that runs; {} tries all of them. {"node": "worker-3", "reason": "…"}',
      ({ node }) => (isAll(node) ? undefined : nodes.refuseNames(textOf(node))),
      ({ node }) => nodes.retryNamed(node),
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
    this.waves.knows(waves);
  }

  /** Waves that are found while the others run. */
  joins(waves: readonly PlannedWave[]): void {
    this.waves.joins(...waves);
  }

  /** A wave is about to start; answers which of its nodes are to be left out. */
  begins(planned: PlannedWave): Record<string, Asked> {
    this.waves.begins(planned);
    return this.nodes.leftOutOf(planned);
  }

  /** The wave has started: it is told now what was asked meanwhile. */
  started(handle: WaveHandle): void {
    this.waves.started(handle);
  }

  /** The wave is over, with this result where it had one. */
  over(planned: PlannedWave, result: WaveResult | undefined): void {
    this.waves.over(planned);
    this.nodes.over(planned, result);
    this.nodes.handedBack(planned, result?.again?.map(({ name }) => name) ?? []);
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

  /** The wave of the nodes that are to be tried again. */
  nextRetry(): PlannedWave {
    return this.nodes.nextRetry();
  }

  /** No wave follows any more, whatever is asked from here on. Answers what was asked and cannot be done. */
  close(): string {
    this.ending = true;
    const names = this.state.retries.map(({ node }) => node.name);
    return names.length === 0 ? '' : `; not tried again, as was asked: ${listed(names)}`;
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
      if (what !== 'abort') await condition(() => this.waves.arePlanned || this.isClosed() !== undefined);
      const asked = askedIn(message);
      const closed = this.isClosed(what);
      const refused = closed ?? refuse(message);
      const refusal = closed !== undefined && what === 'retry' ? later : no;
      const answer = refused === undefined ? await act(message, asked) : refusal(refused);
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
        if (!answer.accepted)
          throw ApplicationFailure.nonRetryable(answer.message, answer.next === true ? NEXT_ATTEMPT : 'Refused');
        return answer.message;
      },
      {
        description,
        validator: (message?: Message) => {
          const asked = given(message);
          // What the watcher asks is answered, and remembered, in any case: it asks until it has an answer.
          if (asked.by === 'kubectl' || this.state.answered[currentUpdateInfo()?.id ?? ''] !== undefined) return;
          const refused = this.isClosed(what) ?? (!this.waves.arePlanned ? undefined : refuse(asked));
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
    const short = this.keep(what, of, asked, answer);
    if (id !== undefined) {
      const kept = Object.entries(state.answered).slice(1 - ANSWERS);
      state.answered = Object.fromEntries([...kept, [id, short]]);
    }
    // An end is written once, by the rollout itself.
    if (!ENDED.has(record.state.phase)) await record.write();
  }

  /** Keeps what was asked, and the answer, for people; only the last ones. Writes nothing. */
  keep(what: Question, of: string, asked: Asked, answer: ControlAnswer): ControlAnswer {
    const { state } = this;
    const message = answer.message.slice(0, 900);
    const kept = { what: of === '' ? what : `${what} ${of}`, ...asked, accepted: answer.accepted, message };
    state.requests = [...state.requests, kept].slice(-KEPT);
    return { ...answer, message };
  }

  private approve(name: string, asked: Asked): ControlAnswer {
    const before = this.state.approvals.find((given) => given.wave === name);
    if (before !== undefined) return yes(`wave ${name} is approved since ${before.at}, by ${askedText(before)}`);
    this.state.approvals.push({ wave: name, ...asked });
    const waits = this.record.state.approval?.wave === name;
    return yes(`wave ${name} is approved${waits ? '' : ': it does not wait when its turn comes'}`);
  }

  private abort(asked: Asked): ControlAnswer {
    this.state.aborted = asked;
    this.record.endedBy = asked;
    this.scope.cancel();
    return yes(
      'aborted: nodes before their point of no return go back to service, the others are taken to their verdict',
    );
  }
}

/** What a person sent, where it is the object that it should be. */
const given = <Message extends AskMessage>(message: Message | undefined): Message =>
  (typeof message === 'object' && message !== null ? message : {}) as Message;
