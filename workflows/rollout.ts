import { ApplicationFailure, CancelledFailure, ChildWorkflowFailure } from '@temporalio/common';
import {
  CancellationScope,
  ParentClosePolicy,
  allHandlersFinished,
  condition,
  isCancellation,
  patched,
  setHandler,
  startChild,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import {
  waveWorkflowID,
  type NodeRef,
  type Plan,
  type RolloutInput,
  type RolloutResult,
  type WaveResult,
} from '../api/messages.ts';
import type { PlaceAnswer } from '../activities/place.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import {
  pauseSignal,
  pauseUpdate,
  resumeSignal,
  resumeUpdate,
  stateQuery,
  type PauseMessage,
  type ResumeMessage,
} from './messages.ts';
import { RolloutRecord } from './rollout-record.ts';
import { attributesFor, showPhase } from './search-attributes.ts';
import { wave } from './wave.ts';

type Handle = ChildWorkflowHandle<typeof wave>;

/**
 * Removes one drift from a set of nodes: plan, then the control plane one node at a time behind a barrier, then the
 * workers. Always ends, and writes how it ended into the resource before it closes: the resource outlives Temporal's
 * retention.
 */
export async function rollout(input: RolloutInput): Promise<RolloutResult> {
  const run = new Rollout(input);
  const { record } = run;
  try {
    const result = await run.carryOut();
    await record.report(result.phase, result.message);
    await condition(allHandlersFinished);
    return result;
  } catch (error) {
    const cancelled = isCancellation(error);
    await record.report(
      cancelled ? 'Cancelled' : 'Failed',
      cancelled ? 'cancelled: nodes that were not touched stay as they are' : errorText(error),
    );
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
    throw error;
  }
}

class Rollout {
  readonly record: RolloutRecord;
  private readonly input: RolloutInput;
  private readonly acts;
  private current: Handle | undefined;
  /** Whether there was a pause while the barrier was waited for. */
  private pausedInWait = false;

  constructor(input: RolloutInput) {
    this.input = input;
    this.acts = activitiesFor(input.timing);
    this.record = new RolloutRecord(input);
    const pause = (message: PauseMessage = {}) => this.steer('pause', message);
    const resume = (message: ResumeMessage = {}) => this.steer('resume', message);
    const pausing = 'Start no further node. {"reason": "…"}';
    const resuming = 'Go on after a pause. {}';
    setHandler(stateQuery, () => this.record.state, { description: 'Where the rollout stands.' });
    setHandler(pauseSignal, async (message) => void (await pause(message)), { description: pausing });
    setHandler(resumeSignal, async (message) => void (await resume(message)), { description: resuming });
    setHandler(pauseUpdate, pause, {
      description: pausing,
      validator: (message?: PauseMessage) => this.mustTake(message?.by, false),
    });
    setHandler(resumeUpdate, resume, {
      description: resuming,
      validator: (message?: ResumeMessage) => this.mustTake(message?.by, true),
    });
  }

  private mustTake(by: PauseMessage['by'], resumes: boolean): void {
    const refused = this.record.refusal(by ?? 'temporal', resumes);
    if (refused !== undefined) throw ApplicationFailure.nonRetryable(refused, 'Refused');
  }

  /** Pauses or resumes, if that may be; a signal that may not be taken is said to be ignored by the update only. */
  private async steer(what: 'pause' | 'resume', message: PauseMessage): Promise<string> {
    const { record } = this;
    const refused = record.refusal(message.by ?? 'temporal', what === 'resume');
    if (refused !== undefined) return refused;
    record[what](message);
    this.pausedInWait = true;
    await this.tell(this.current);
    await record.write();
    return what === 'pause' ? 'paused: nodes in hand are finished, no further one is started' : 'resumed';
  }

  /** Tells a wave whether it is paused. */
  private async tell(child: Handle | undefined): Promise<void> {
    const { paused } = this.record.state;
    try {
      await CancellationScope.nonCancellable(async () => {
        if (paused === undefined) await child?.signal(resumeSignal, {});
        else await child?.signal(pauseSignal, { reason: paused.reason });
      });
    } catch {
      // The wave has just ended: the next one is told when it starts.
    }
  }

  /** Says at once that the rollout is being cancelled: nodes past the point of no return take their time. */
  announceCancel(): void {
    CancellationScope.current().cancelRequested.catch(() => {
      if (this.current === undefined) return;
      void this.record.report(
        'Cancelling',
        'nodes whose image is being written are taken to their verdict, the others are given back',
      );
    });
  }

  async carryOut(): Promise<RolloutResult> {
    this.announceCancel();
    const { record } = this;
    const { call, wait } = this.acts;
    const current = await call.confirmRequest(record.context);
    if (!current.current) return record.end('Cancelled', current.reason);
    await record.report('Planning', 'waiting for the agents to report, then planning');
    const plan = await wait.planRollout(record.context);
    record.total = plan.controlPlane.length + plan.workers.length;
    if (record.total === 0) return record.end('Failed', noNodes(plan));

    showPhase(this.input.timing, 'Running');
    const control = await this.runWave('control-plane', plan.controlPlane, 1);
    if (control?.stopped !== undefined) return this.stopped(control, await this.learnLate());
    if (control !== undefined && plan.workers.length > 0) {
      const barrier = await this.barrier();
      if (!barrier.open) return record.end('Failed', barrier.reason);
    }
    const workers = await this.runWave('workers', plan.workers, plan.maxUnavailable);
    const late = await this.learnLate();
    if (workers?.stopped !== undefined) return this.stopped(workers, late);
    return this.ended(plan, late);
  }

  /** Its deadline does not count where a pause came into it: the wait begins anew when that is over. */
  private async barrier(): Promise<PlaceAnswer> {
    for (;;) {
      this.pausedInWait = this.record.state.paused !== undefined;
      const barrier = await this.acts.wait.waitForControlPlane(this.record.context);
      if (barrier.open || !this.pausedInWait) return barrier;
      await condition(() => this.record.state.paused === undefined);
    }
  }

  /**
   * A node that is held for want of evidence is judged again when that comes, by another run: what it turned out to be
   * counts as long as the rollout has not ended. Answers what is to be said about it.
   */
  private async learnLate(): Promise<string> {
    const { record } = this;
    if (record.failed.length === 0 || !patched('late-verdicts')) return '';
    const nodes = record.failed.map(({ name, verdict }) => ({ name, verdict }));
    return record.correct(await this.acts.call.readLateVerdicts({ context: record.context, nodes }));
  }

  private ended(plan: Plan, late: string): RolloutResult {
    const { record } = this;
    const { failed, total } = record;
    if (total === 0) return record.end('Failed', `no node is left to upgrade${this.gone()}${leftAlone(plan)}`);
    if (failed.length === 0)
      return record.end(
        'Completed',
        `${total} of ${total} nodes run ${record.version() ?? 'the target'}${late}${this.gone()}${leftAlone(plan)}`,
      );
    const named = failed.slice(0, 5).map((node) => `${node.name} (${node.verdict})`);
    return record.end(
      'Failed',
      `${failed.length} of ${total} nodes did not reach the target: ${named.join(', ')}${late}${this.gone()}${leftAlone(plan)}`,
    );
  }

  /** Names what went before its turn, for the end of a message. */
  private gone(): string {
    const { gone } = this.record;
    if (gone.length === 0) return '';
    const more = gone.length > 5 ? ` and ${gone.length - 5} more` : '';
    return `; gone before their turn: ${gone.slice(0, 5).join(', ')}${more}`;
  }

  private async runWave(name: string, nodes: NodeRef[], budget: number): Promise<WaveResult | undefined> {
    if (nodes.length === 0) return undefined;
    const { record } = this;
    record.state.wave = name;
    await record.report('Running', `wave ${name}: ${nodes.length} nodes, at most ${budget} out at once`);
    const group = name === 'control-plane' ? 'control-plane' : 'worker';
    const paused = record.state.paused?.reason;
    const child = await startChild(wave, {
      workflowId: waveWorkflowID(record.context.rolloutID, this.input.request, name),
      args: [
        {
          ...record.context,
          timing: this.input.timing,
          name,
          nodes,
          place: { group, budget },
          targets: record.targets,
          ...(paused === undefined ? {} : { paused }),
        },
      ],
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      workflowTaskTimeout: this.input.timing.workflowTaskMs,
      staticSummary: `wave ${name}: ${nodes.length} nodes`,
      ...attributesFor({ ...record.context, timing: this.input.timing }),
    });
    this.current = child;
    // What was asked for while the wave was being started.
    if (record.state.paused?.reason !== paused) void this.tell(child);
    try {
      const result = await this.resultOf(child, name, nodes);
      record.add(result);
      if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('rollout cancelled');
      return result;
    } finally {
      this.current = undefined;
    }
  }

  /**
   * A wave that was terminated, or failed, gave no result, and its nodes are being cancelled. The rollout goes on only
   * when each of them is in nobody's hand any more, and reads their verdicts from the nodes themselves.
   */
  private async resultOf(child: Handle, name: string, nodes: NodeRef[]): Promise<WaveResult> {
    try {
      const result = await child.result();
      if (result.stopped !== 'cancelled' || CancellationScope.current().consideredCancelled) return result;
      return { ...result, stopped: `wave ${name} was cancelled by itself` };
    } catch (error) {
      if (!(error instanceof ChildWorkflowFailure)) throw error;
      const { record } = this;
      const stopped = `wave ${name} did not end by itself (${errorText(error)})`;
      await record.report('Running', `${stopped}: waiting until none of its nodes is in hand`);
      const settled = await CancellationScope.nonCancellable(() =>
        this.acts.wait.settleWave({ context: record.context, nodes }),
      );
      return { ...settled, targets: record.targets, stopped };
    }
  }

  private stopped(result: WaveResult, late: string): RolloutResult {
    const { record } = this;
    const ended = Object.values(record.state.verdicts).reduce((sum, count) => sum + count, 0);
    const untouched = record.total - ended;
    const rest = untouched === 0 ? '' : `; ${untouched} ${untouched === 1 ? 'node was' : 'nodes were'} not touched`;
    return record.end('Failed', `stopped: ${result.stopped}${late}${rest}${this.gone()}`);
  }
}

/** Names what was selected but not upgraded, for the end of a message. */
const leftAlone = (plan: Plan) =>
  plan.leftAlone.length === 0
    ? ''
    : `; left alone: ${plan.leftAlone
        .slice(0, 5)
        .map((node) => `${node.name} (${node.reason})`)
        .join(', ')}`;

const noNodes = (plan: Plan) =>
  plan.leftAlone.length === 0
    ? 'no node matches spec.nodeSelector: compare it with kubectl get nodes --show-labels'
    : `no node to upgrade: ${plan.leftAlone
        .slice(0, 5)
        .map((node) => `${node.name}: ${node.reason}`)
        .join('; ')}`;
