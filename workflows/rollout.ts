import { allHandlersFinished, CancellationScope, condition, isCancellation, patched } from '@temporalio/workflow';
import type { Plan, PlannedWave, RolloutInput, RolloutResult } from '../api/messages.ts';
import type { PlaceAnswer } from '../activities/place.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { JoinedLater, MOST_ROUNDS } from './joined-nodes.ts';
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
  private readonly control: RolloutControl;

  constructor(input: RolloutInput) {
    this.input = input;
    this.acts = activitiesFor(input.timing);
    this.record = new RolloutRecord(input);
    this.control = new RolloutControl(this.record);
  }

  /** Says at once that the rollout is being cancelled: nodes past the point of no return take their time. */
  announceCancel(): void {
    CancellationScope.current().cancelRequested.catch(() => {
      if (this.control.current === undefined) return;
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
    const waves = wavesOf(plan);
    record.total = waves.reduce((total, { nodes }) => total + nodes.length, 0);
    if (record.total === 0) return record.end('Failed', noNodes(plan));

    showPhase(this.input.timing, 'Running');
    const end = (await this.runWaves(waves, plan.warning)) ?? (await this.runJoined(plan));
    return end ?? this.ended(plan, await this.learnLate());
  }

  /** Runs waves in their order; answers how the rollout ends where they end it. `warning` is said with the first. */
  private async runWaves(waves: PlannedWave[], warning?: string): Promise<RolloutResult | undefined> {
    const { record } = this;
    let group: string | undefined;
    for (const [n, planned] of waves.entries()) {
      if (group === 'control-plane' && planned.group === 'worker') {
        const barrier = await this.barrier();
        if (!barrier.open) return record.end('Failed', barrier.reason);
      }
      group = planned.group;
      const result = await runWave(this.input, record, this.control, planned, n === 0 ? warning : undefined);
      const [failed] = result.failed;
      if (result.stopped !== undefined) return this.stopped(result.stopped, await this.learnLate());
      // A worker that goes before the control plane is its canary.
      if (group === 'worker' && waves[n + 1]?.group === 'control-plane' && failed !== undefined)
        return this.stopped(
          `node ${failed.name} ended as ${failed.verdict}: ${failed.message}`,
          await this.learnLate(),
        );
    }
    return undefined;
  }

  /** Nodes that joined since the plan, where the strategy wants them, until a look finds no further one. */
  private async runJoined(plan: Plan): Promise<RolloutResult | undefined> {
    const { record } = this;
    if (this.input.spec.newNodes !== 'Upgrade') return undefined;
    const joined = new JoinedLater(plan);
    for (let round = 1; round <= MOST_ROUNDS && record.failed.length === 0; round += 1) {
      const version = record.version();
      if (version === undefined) return undefined;
      const waves = joined.waves(round, await this.acts.call.findJoined({ ...record.context, version }));
      if (waves.length === 0) return undefined;
      record.total += waves.reduce((total, { nodes }) => total + nodes.length, 0);
      const end = await this.runWaves(waves);
      if (end !== undefined) return end;
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

  private ended(plan: Plan, late: string): RolloutResult {
    const { record } = this;
    const { failed, total } = record;
    if (total === 0 && failed.length === 0 && this.left() > 0)
      return record.end('Cancelled', `no node was touched${this.superseded()}${this.gone()}${leftAlone(plan)}`);
    if (total === 0) return record.end('Failed', `no node is left to upgrade${this.gone()}${leftAlone(plan)}`);
    if (failed.length === 0)
      return record.end(
        'Completed',
        `${total} of ${total} nodes run ${record.version() ?? 'the target'}${late}${this.superseded()}${this.gone()}${leftAlone(plan)}`,
      );
    const named = failed.slice(0, 5).map((node) => `${node.name} (${node.verdict})`);
    return record.end(
      'Failed',
      `${failed.length} of ${total} nodes did not reach the target: ${named.join(', ')}${late}${this.superseded()}${this.gone()}${leftAlone(plan)}`,
    );
  }

  /** Names what went before its turn, for the end of a message. */
  private gone(): string {
    const { gone } = this.record;
    if (gone.length === 0) return '';
    const more = gone.length > 5 ? ` and ${gone.length - 5} more` : '';
    return `; gone before their turn: ${gone.slice(0, 5).join(', ')}${more}`;
  }

  private left(): number {
    return this.record.state.verdicts['Superseded'] ?? 0;
  }

  /** Names what was left to other NodeOpUpgrades, and to which, for a message. */
  private superseded(): string {
    const count = this.left();
    if (count === 0) return '';
    const named = this.record.superseded.slice(0, 5).map(({ name, by }) => `${name} (to ${by})`);
    const more = count > named.length ? ` and ${count - named.length} more` : '';
    return `; left to a NodeOpUpgrade that was created later: ${named.join(', ')}${more}`;
  }

  private stopped(why: string, late: string): RolloutResult {
    const { record } = this;
    const ended = Object.values(record.state.verdicts).reduce((sum, count) => sum + count, 0) - this.left();
    const untouched = record.total - ended;
    const rest = untouched === 0 ? '' : `; ${untouched} ${untouched === 1 ? 'node was' : 'nodes were'} not touched`;
    return record.end('Failed', `stopped: ${why}${late}${rest}${this.superseded()}${this.gone()}`);
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
