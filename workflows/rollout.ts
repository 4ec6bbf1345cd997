import { CancelledFailure } from '@temporalio/common';
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  ContinueAsNew,
  isCancellation,
  patched,
} from '@temporalio/workflow';
import type { FailedNode, RolloutInput, RolloutResult } from '../api/messages.ts';
import type { Asked } from '../api/control-messages.ts';
import type { Plan, PlannedWave } from '../api/plan-messages.ts';
import type { PlaceAnswer } from '../activities/place.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { JoinedLater } from './joined-nodes.ts';
import { within } from './node-control.ts';
import { askedText } from '../policy/asked.ts';
import { goOnElsewhere, takeUp } from './rollout-carry.ts';
import { RolloutControl } from './rollout-control.ts';
import { endOf, endOfDryRun, endOfStopped, noNodes } from './rollout-end.ts';
import { RolloutRecord } from './rollout-record.ts';
import { runWave, soakAfter, wavesOf } from './rollout-waves.ts';
import { showPhase } from './search-attributes.ts';

/**
 * Removes one drift from a set of nodes: plan, then the control plane one node at a time behind a barrier, then the
 * waves of the workers. Always ends, and writes how it ended into the resource before it closes: the resource outlives
 * Temporal's retention.
 */
export async function rollout(input: RolloutInput): Promise<RolloutResult> {
  const run = new Rollout(input);
  const { record } = run;
  try {
    const result = await within(run.scope, () => run.carryOut());
    await record.report(result.phase, result.message);
    return await closeAs(result);
  } catch (error) {
    if (error instanceof ContinueAsNew) throw error;
    const cancelled = isCancellation(error);
    // The workflow itself was not cancelled: it has a result, as an end that was asked for. A step that fails after it
    // was given up is not repeated, so whatever comes then is that end.
    if (run.aborted !== undefined && !CancellationScope.current().consideredCancelled)
      return run.endAborted(run.aborted);
    if (cancelled) await record.report('Cancelled', run.cancelledText());
    else await record.report('Failed', errorText(error));
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
    throw error;
  }
}

/** What has been said to be the end is the end: a cancel that comes while it is written changes nothing any more. */
async function closeAs(result: RolloutResult): Promise<RolloutResult> {
  try {
    await condition(allHandlersFinished);
  } catch (error) {
    if (!isCancellation(error) || !patched('an-end-stays')) throw error;
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  }
  return result;
}

class Rollout {
  readonly record: RolloutRecord;
  private readonly input: RolloutInput;
  private readonly acts;
  private readonly control: RolloutControl;
  private joined: JoinedLater | undefined;

  constructor(input: RolloutInput) {
    this.input = input;
    this.acts = activitiesFor(input.timing);
    this.record = new RolloutRecord(input);
    if (input.carried !== undefined) takeUp(this.record, input.carried);
    this.control = new RolloutControl(this.record, input);
  }

  /** What an abort ends. */
  get scope(): CancellationScope {
    return this.control.requests.scope;
  }

  get aborted(): Asked | undefined {
    return this.control.requests.state.aborted;
  }

  /** Ended by a person: the resource stays, and says who and why; a later retry starts anew. */
  async endAborted(asked: Asked): Promise<RolloutResult> {
    const { record } = this;
    const message = `aborted by ${askedText(asked)}; nodes that were not touched stay as they are`;
    await record.report('Cancelled', message);
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
    return record.end('Cancelled', message);
  }

  /** What is said of a cancel; by Temporal itself, where the watcher has not said why it cancels. */
  cancelledText(): string {
    const { record } = this;
    const asked = record.endedBy;
    record.endedBy ??= { by: 'temporal', at: new Date().toISOString() };
    const by = asked === undefined ? 'cancelled:' : `cancelled by ${askedText(asked)};`;
    return `${by} nodes that were not touched stay as they are`;
  }

  /** Says at once that the rollout is being cancelled: nodes past the point of no return take their time. */
  announceCancel(): void {
    CancellationScope.current().cancelRequested.catch(() => {
      if (this.control.current === undefined) return;
      const { endedBy } = this.record;
      const how = this.aborted === undefined ? 'cancelled' : 'aborted';
      const by = endedBy === undefined ? '' : `${how} by ${askedText(endedBy)}; `;
      void this.record.report(
        'Cancelling',
        `${by}nodes whose image is being written are taken to their verdict, the others are given back`,
      );
    });
  }

  async carryOut(): Promise<RolloutResult> {
    this.announceCancel();
    const { record, input } = this;
    const plan = input.carried?.plan ?? (await this.plan());
    if ('phase' in plan) return plan;

    const { requests } = this.control;
    const waves = wavesOf(plan);
    requests.knows(waves);
    if (input.spec.newNodes === 'Upgrade') this.joined = new JoinedLater(plan, input.carried?.joined);
    showPhase(input.timing, 'Running');
    const end = (await this.runWaves(plan, waves)) ?? (await this.runJoined(plan));
    const again = end === undefined && requests.hasRetries ? await this.tryAgain(plan) : end;
    if (again !== undefined) return again;
    requests.close();
    return endOf(record, plan, await this.learnLate());
  }

  /** Nothing is started any more; what was asked meanwhile and cannot be done is named. */
  private async stop(why: string): Promise<RolloutResult> {
    const again = this.control.requests.close();
    return endOfStopped(this.record, why, await this.learnLate(), again);
  }

  /** What people asked for comes before a wave: nodes that are tried again, and its approval. */
  private async askedFirst(plan: Plan, planned: PlannedWave): Promise<RolloutResult | undefined> {
    const { requests } = this.control;
    for (;;) {
      const again = await this.tryAgain(plan);
      if (again !== undefined) return again;
      if (requests.isApproved(planned) || (await requests.approval(planned))) return undefined;
    }
  }

  /** Tries nodes again for which a person asked that; answers how the rollout ends where that stops it. */
  private async tryAgain({ maxFailed }: Plan): Promise<RolloutResult | undefined> {
    const { requests } = this.control;
    while (requests.hasRetries) {
      const before = this.record.counted;
      const planned = requests.nextRetry();
      const limits = { maxFailed, retried: before - this.record.counted };
      const result = await runWave(this.input, this.record, this.control, planned, limits);
      if (result.stopped !== undefined) return this.stop(result.stopped);
    }
    return undefined;
  }

  /** What is to be done; or the end, where nothing is. */
  private async plan(): Promise<Plan | RolloutResult> {
    const { record } = this;
    const { call, wait } = this.acts;
    const current = await call.confirmRequest(record.context);
    if (!current.current) return record.end('Cancelled', current.reason);
    await record.report('Planning', 'waiting for the agents to report, then planning');
    const plan = await wait.planRollout(record.context);
    // The plan may have been made all the same: what was cancelled before it ends as that.
    if (CancellationScope.current().consideredCancelled && patched('cancelled-while-planning'))
      throw new CancelledFailure('rollout cancelled');
    record.total = wavesOf(plan).reduce((total, { nodes }) => total + nodes.length, 0);
    record.plan = plan.report;
    if (record.total === 0) return record.end('Failed', noNodes(plan));
    return this.input.spec.dryRun === true ? endOfDryRun(record, plan) : plan;
  }

  /** Runs waves in their order; answers how the rollout ends where one of them ends it. */
  private async runWaves(plan: Plan, waves: PlannedWave[]): Promise<RolloutResult | undefined> {
    const { record, input } = this;
    let group: string | undefined = input.carried?.group;
    let { warning } = plan;
    const { requests } = this.control;
    for (const [index, planned] of waves.entries()) {
      if (requests.hasRetries || !requests.isApproved(planned)) {
        const ended = await this.askedFirst(plan, planned);
        if (ended !== undefined) return ended;
      }
      if (group === 'control-plane' && planned.group === 'worker') {
        const barrier = await this.barrier();
        if (!barrier.open) return record.end('Failed', barrier.reason);
        warning ??= barrier.remark;
      }
      group = planned.group;
      const result = await runWave(input, record, this.control, planned, { maxFailed: plan.maxFailed, warning });
      warning = undefined;
      const left = waves.slice(index + 1);
      const stopped =
        result.stopped ?? canaryFailure(planned, left, result.failed) ?? (await this.unwellAfter(planned));
      if (stopped !== undefined) return this.stop(stopped);
      await goOnElsewhere(input, record, this.control, {
        plan,
        left,
        group: planned.group,
        joined: this.joined?.known,
      });
    }
    return undefined;
  }

  /** What its soak, or a health gate, has against going on after a wave. */
  private async unwellAfter(planned: PlannedWave): Promise<string | undefined> {
    const unsteady = await soakAfter(this.input, this.record, planned);
    if (unsteady !== undefined) return unsteady;
    const health = await this.healthAfter(planned.name);
    return health.open ? undefined : health.reason;
  }

  /** Nodes that joined since the plan, where the strategy wants them, until a look finds no further one. */
  private async runJoined(plan: Plan): Promise<RolloutResult | undefined> {
    const { record, joined } = this;
    if (joined === undefined) return undefined;
    for (;;) {
      const version = record.version();
      if (version === undefined || !joined.mayGoOn() || record.failed.length > 0) return undefined;
      const waves = joined.waves(await this.acts.call.findJoined({ ...record.context, version }));
      if (waves.length === 0) return undefined;
      record.total += waves.reduce((total, { nodes }) => total + nodes.length, 0);
      this.control.requests.joins(waves);
      const end = await this.runWaves(plan, waves);
      if (end !== undefined) return end;
    }
  }

  private barrier(): Promise<PlaceAnswer> {
    return this.waitSteered(() => this.acts.wait.waitForControlPlane(this.record.context));
  }

  /** What the health gates say after a wave; asked only where there are any. */
  private async healthAfter(wave: string): Promise<PlaceAnswer> {
    const { record } = this;
    if (record.context.spec.healthGates === undefined) return { open: true };
    await record.report('Running', `wave ${wave} has ended: asking the health gates`);
    return this.waitSteered(() => this.acts.wait.waitForHealth({ ...record.context, wave }));
  }

  /** A wait whose deadline does not count where a pause came into it: it begins anew when that is over. */
  private async waitSteered(wait: () => Promise<PlaceAnswer>): Promise<PlaceAnswer> {
    for (;;) {
      this.control.steered = this.record.state.paused !== undefined;
      const answer = await wait();
      if (answer.open || !this.control.steered) return answer;
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
}

/** A worker that goes before the control plane is its canary: its failure stops the rollout whatever the budget says. */
function canaryFailure(
  { group }: PlannedWave,
  [next]: readonly PlannedWave[],
  [failed]: readonly FailedNode[],
): string | undefined {
  if (group !== 'worker' || next?.group !== 'control-plane' || failed === undefined) return undefined;
  return `node ${failed.name} ended as ${failed.verdict}: ${failed.message}`;
}
