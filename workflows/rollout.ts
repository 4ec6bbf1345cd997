import { CancelledFailure } from '@temporalio/common';
import {
  CancellationScope,
  ParentClosePolicy,
  isCancellation,
  setCurrentDetails,
  setHandler,
  startChild,
  workflowInfo,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import {
  waveWorkflowID,
  type NodeRef,
  type Plan,
  type RolloutContext,
  type RolloutInput,
  type RolloutResult,
  type Target,
  type WaveResult,
} from '../api/messages.ts';
import type { RolloutPhase, RolloutStatus } from '../api/types.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { pauseSignal, resumeSignal, stateQuery, type RolloutState } from './messages.ts';
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
  try {
    const result = await run.carryOut();
    await run.report(result.phase, result.message);
    return result;
  } catch (error) {
    const cancelled = isCancellation(error);
    await run.cancelling;
    await CancellationScope.nonCancellable(() =>
      run.report(
        cancelled ? 'Cancelled' : 'Failed',
        cancelled ? 'cancelled: nodes that were not touched stay as they are' : errorText(error),
      ),
    );
    throw error;
  }
}

class Rollout {
  private readonly context: RolloutContext;
  private readonly input: RolloutInput;
  private readonly acts;
  private readonly state: RolloutState = { phase: 'Planning', verdicts: {} };
  private readonly failed: WaveResult['failed'] = [];
  private targets: Record<string, Target> = {};
  private total = 0;
  /** The report that a cancel is under way; the last report comes after it. */
  cancelling: Promise<void> | undefined;
  private current: Handle | undefined;

  constructor(input: RolloutInput) {
    this.input = input;
    this.acts = activitiesFor(input.timing);
    this.context = {
      cluster: input.cluster,
      rolloutID: workflowInfo().workflowId,
      request: input.request,
      spec: input.spec,
    };
    setHandler(stateQuery, () => this.state, { description: 'Where the rollout stands.' });
    setHandler(pauseSignal, (pause) => this.forward('pause', pause ?? {}), {
      description: 'Start no further node. {"reason": "…"}',
    });
    setHandler(resumeSignal, () => this.forward('resume', {}), { description: 'Go on after a pause.' });
  }

  /** Says at once that the rollout is being cancelled: nodes past the point of no return take their time. */
  announceCancel(): void {
    CancellationScope.current().cancelRequested.catch(() => {
      if (this.current === undefined) return;
      this.cancelling = CancellationScope.nonCancellable(() =>
        this.report(
          'Cancelling',
          'nodes whose image is being written are taken to their verdict, the others are given back',
        ),
      );
    });
  }

  async carryOut(): Promise<RolloutResult> {
    this.announceCancel();
    const { call, wait } = this.acts;
    const current = await call.confirmRequest(this.context);
    if (!current.current) return this.end('Cancelled', current.reason);
    await this.report('Planning', 'waiting for the agents to report, then planning');
    const plan = await wait.planRollout(this.context);
    this.total = plan.controlPlane.length + plan.workers.length;
    if (this.total === 0) return this.end('Failed', noNodes(plan));

    showPhase(this.input.timing, 'Running');
    const control = await this.runWave('control-plane', plan.controlPlane, 1);
    if (control?.stopped !== undefined) return this.stopped(control);
    if (control !== undefined && plan.workers.length > 0) {
      const barrier = await wait.waitForControlPlane(this.context);
      if (!barrier.open) return this.end('Failed', barrier.reason);
    }
    const workers = await this.runWave('workers', plan.workers, plan.maxUnavailable);
    if (workers?.stopped !== undefined) return this.stopped(workers);
    return this.failed.length === 0
      ? this.end(
          'Completed',
          `${this.total} of ${this.total} nodes run ${this.version() ?? 'the target'}${leftAlone(plan)}`,
        )
      : this.end(
          'Failed',
          `${this.failed.length} of ${this.total} nodes did not reach the target: ${this.failed
            .slice(0, 5)
            .map((node) => `${node.name} (${node.verdict})`)
            .join(', ')}${leftAlone(plan)}`,
        );
  }

  private async runWave(name: string, nodes: NodeRef[], budget: number): Promise<WaveResult | undefined> {
    if (nodes.length === 0) return undefined;
    this.state.wave = name;
    await this.report('Running', `wave ${name}: ${nodes.length} nodes, at most ${budget} out at once`);
    const group = name === 'control-plane' ? 'control-plane' : 'worker';
    const child = await startChild(wave, {
      workflowId: waveWorkflowID(this.context.rolloutID, this.input.request, name),
      args: [
        { ...this.context, timing: this.input.timing, name, nodes, place: { group, budget }, targets: this.targets },
      ],
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      workflowTaskTimeout: this.input.timing.workflowTaskMs,
      staticSummary: `wave ${name}: ${nodes.length} nodes`,
      ...attributesFor({ ...this.context, timing: this.input.timing }),
    });
    this.current = child;
    if (this.state.paused !== undefined) await child.signal(pauseSignal, { reason: this.state.paused });
    try {
      const result = await child.result();
      this.add(result);
      if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('rollout cancelled');
      return result;
    } finally {
      this.current = undefined;
    }
  }

  private add(result: WaveResult): void {
    for (const [verdict, count] of Object.entries(result.verdicts)) {
      this.state.verdicts[verdict] = (this.state.verdicts[verdict] ?? 0) + count;
    }
    this.failed.push(...result.failed);
    this.targets = result.targets;
  }

  private async forward(signal: 'pause' | 'resume', body: { reason?: string }): Promise<void> {
    if (signal === 'pause') this.state.paused = body.reason ?? 'paused';
    else delete this.state.paused;
    await this.current?.signal(signal === 'pause' ? pauseSignal : resumeSignal, body);
  }

  private stopped(result: WaveResult): RolloutResult {
    return this.end(
      'Failed',
      `stopped: ${result.stopped}; ${result.untouched} nodes of wave ${this.state.wave} were not touched`,
    );
  }

  private end(phase: RolloutPhase, message: string): RolloutResult {
    return { phase, message, verdicts: this.state.verdicts };
  }

  private version(): string | undefined {
    return Object.values(this.targets)[0]?.version;
  }

  /** Writes where the rollout stands into its resource; repeated until the API server takes it. */
  async report(phase: RolloutPhase, message: string): Promise<void> {
    this.state.phase = phase;
    setCurrentDetails(`**${phase}** ${message}`);
    const version = this.version();
    const status: RolloutStatus = {
      workflowID: this.context.rolloutID,
      generation: this.input.request.generation,
      attempt: this.input.request.attempt,
      phase,
      message,
      image: this.input.spec.image,
      total: this.total,
      verdicts: this.state.verdicts,
      failed: this.failed.slice(0, 100),
      ...(this.state.wave === undefined ? {} : { wave: this.state.wave }),
      ...(version === undefined ? {} : { version }),
    };
    const final = phase === 'Completed' || phase === 'Failed' || phase === 'Cancelled';
    if (final) showPhase(this.input.timing, phase);
    await this.acts.call.reportRollout({ context: this.context, status, final });
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
