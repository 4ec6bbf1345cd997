import { allHandlersFinished, CancellationScope, condition, isCancellation, patched } from '@temporalio/workflow';
import type { Asked, Plan, PlannedWave, RolloutInput, RolloutResult, WaveResult } from '../api/messages.ts';
import type { PlaceAnswer } from '../activities/place.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { within } from './node-control.ts';
import { askedText, listed } from './request-texts.ts';
import { RolloutControl } from './rollout-control.ts';
import { RolloutRecord } from './rollout-record.ts';
import { runWave, wavesOf } from './rollout-waves.ts';
import { showPhase } from './search-attributes.ts';

/**
 * Removes one drift from a set of nodes: plan, then the control plane one node at a time behind a barrier, then the
 * workers. Always ends, and writes how it ended into the resource before it closes: the resource outlives Temporal's
 * retention.
 */
export async function rollout(input: RolloutInput): Promise<RolloutResult> {
  const run = new Rollout(input);
  const { record } = run;
  try {
    const result = await within(run.scope, () => run.carryOut());
    await record.report(result.phase, result.message);
    await condition(allHandlersFinished);
    return result;
  } catch (error) {
    const cancelled = isCancellation(error);
    // The workflow itself was not cancelled: it has a result, as an end that was asked for. A step that fails after it
    // was given up is not repeated, so whatever comes then is that end.
    if (run.aborted !== undefined && !CancellationScope.current().consideredCancelled)
      return run.endAborted(run.aborted);
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
  private readonly control: RolloutControl;

  constructor(input: RolloutInput) {
    this.input = input;
    this.acts = activitiesFor(input.timing);
    this.record = new RolloutRecord(input);
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

  /** Says at once that the rollout is being cancelled: nodes past the point of no return take their time. */
  announceCancel(): void {
    CancellationScope.current().cancelRequested.catch(() => {
      if (this.control.current === undefined) return;
      const by = this.aborted === undefined ? '' : `aborted by ${askedText(this.aborted)}; `;
      void this.record.report(
        'Cancelling',
        `${by}nodes whose image is being written are taken to their verdict, the others are given back`,
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
    const waves = wavesOf(plan);
    record.total = waves.reduce((total, { nodes }) => total + nodes.length, 0);
    if (record.total === 0) return record.end('Failed', noNodes(plan));

    const { requests } = this.control;
    requests.knows(waves);
    showPhase(this.input.timing, 'Running');
    let group: string | undefined;
    for (const planned of waves) {
      if (requests.hasRetries || !requests.isApproved(planned)) {
        const ended = await this.askedFirst(planned);
        if (ended !== undefined) return ended;
      }
      if (group === 'control-plane' && planned.group === 'worker') {
        const barrier = await this.barrier();
        if (!barrier.open) return record.end('Failed', barrier.reason);
      }
      group = planned.group;
      const result = await runWave(this.input, record, this.control, planned);
      if (result.stopped !== undefined) return this.stopped(result);
    }
    if (requests.hasRetries) {
      const ended = await this.tryAgain();
      if (ended !== undefined) return ended;
    }
    return this.ended(plan);
  }

  /** What people asked for comes before a wave: nodes that are tried again, and its approval. */
  private async askedFirst(planned: PlannedWave): Promise<RolloutResult | undefined> {
    const { requests } = this.control;
    for (;;) {
      const again = await this.tryAgain();
      if (again !== undefined) return again;
      if (requests.isApproved(planned) || (await requests.approval(planned))) return undefined;
    }
  }

  /** Tries nodes again for which a person asked that; answers how the rollout ends where that stops it. */
  private async tryAgain(): Promise<RolloutResult | undefined> {
    const { requests } = this.control;
    while (requests.hasRetries) {
      const result = await runWave(this.input, this.record, this.control, requests.nextRetry());
      if (result.stopped !== undefined) return this.stopped(result);
    }
    return undefined;
  }

  /** Its deadline does not count where a pause came into it: the wait begins anew when that is over. */
  private async barrier(): Promise<PlaceAnswer> {
    for (;;) {
      this.control.steered = this.record.state.paused !== undefined;
      const barrier = await this.acts.wait.waitForControlPlane(this.record.context);
      if (barrier.open || !this.control.steered) return barrier;
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

  private async ended(plan: Plan): Promise<RolloutResult> {
    const { record } = this;
    this.control.requests.close();
    const late = await this.learnLate();
    const { failed, total } = record;
    if (total === 0) return record.end('Failed', `no node is left to upgrade${this.gone()}${leftAlone(plan)}`);
    if (failed.length === 0)
      return record.end(
        'Completed',
        `${total - this.control.requests.state.skipped.length} of ${total} nodes run ${record.version() ?? 'the target'}${late}${this.leftOut()}${this.gone()}${leftAlone(plan)}`,
      );
    const named = failed.slice(0, 5).map((node) => `${node.name} (${node.verdict})`);
    return record.end(
      'Failed',
      `${failed.length} of ${total} nodes did not reach the target: ${named.join(', ')}${late}${this.leftOut()}${this.gone()}${leftAlone(plan)}`,
    );
  }

  /** Names what went before its turn, for the end of a message. */
  private gone(): string {
    const { gone } = this.record;
    if (gone.length === 0) return '';
    const more = gone.length > 5 ? ` and ${gone.length - 5} more` : '';
    return `; gone before their turn: ${gone.slice(0, 5).join(', ')}${more}`;
  }

  /** Names what people left out, for the end of a message. */
  private leftOut(): string {
    const { skipped } = this.control.requests.state;
    return skipped.length === 0 ? '' : `; left out: ${listed(skipped.map(({ name }) => name))}`;
  }

  private async stopped(result: WaveResult): Promise<RolloutResult> {
    const { record } = this;
    const again = this.control.requests.close();
    const late = await this.learnLate();
    const ended = Object.values(record.state.verdicts).reduce((sum, count) => sum + count, 0);
    const untouched = record.total - ended;
    const rest = untouched === 0 ? '' : `; ${untouched} ${untouched === 1 ? 'node was' : 'nodes were'} not touched`;
    return record.end('Failed', `stopped: ${result.stopped}${late}${rest}${again}${this.leftOut()}${this.gone()}`);
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
