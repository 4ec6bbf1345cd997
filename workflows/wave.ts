import {
  CancellationScope,
  ParentClosePolicy,
  condition,
  executeChild,
  isCancellation,
  setCurrentDetails,
  setHandler,
} from '@temporalio/workflow';
import {
  ChildWorkflowFailure,
  TerminatedFailure,
  TimeoutFailure,
  WorkflowExecutionAlreadyStartedError,
} from '@temporalio/common';
import {
  nodeWorkflowID,
  type NodeRef,
  type NodeResult,
  type Target,
  type WaveInput,
  type WaveResult,
} from '../api/messages.ts';
import type { Verdict } from '../api/types.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { pauseSignal, resumeSignal } from './messages.ts';
import { attributesFor } from './search-attributes.ts';
import { nodeUpgrade } from './node-upgrade.ts';

interface Pulled {
  node: NodeRef;
  target: Target;
}

/**
 * Upgrades a group of nodes, never more than `place.budget` in hand at once. A sliding window: a slow node holds up
 * nobody else. Images are pulled ahead of the window, so a slow link is never paid for while a node is out.
 *
 * All waiting is done here, before a node's own workflow starts: a node that cannot start now goes to the end of the
 * queue, after one activity has waited for its place. Nodes in hand are always finished, whatever stops the wave.
 */
export async function wave(input: WaveInput): Promise<WaveResult> {
  const state = new WaveState(input);
  setHandler(pauseSignal, (pause) => state.pause(pause?.reason), {
    description: 'Start no further node. {"reason": "…"}',
  });
  setHandler(resumeSignal, () => state.resume(), { description: 'Go on after a pause.' });

  const lanes = Array.from({ length: Math.min(input.place.budget, input.nodes.length) }, () => runLane(input, state));
  const ended = await Promise.allSettled([pullAhead(input, state), ...lanes]);
  const failed = ended.find((lane) => lane.status === 'rejected' && !isCancellation(lane.reason));
  if (failed?.status === 'rejected') throw failed.reason;
  // Cancelled or not: a workflow that closes as cancelled has no result, and what was done would be lost with it.
  return state.result();
}

/**
 * Pulls the image on the next nodes, `prePullAhead` at a time, as long as somebody will need them. Control-plane nodes
 * are handed over in the plan's order, which has its reasons; a worker never waits for another one's pull.
 */
async function pullAhead(input: WaveInput, state: WaveState): Promise<void> {
  const { call } = activitiesFor(input.timing);
  const pulls: Promise<void>[] = [];
  const pull = async (node: NodeRef, before: Promise<void> | undefined) => {
    try {
      const { wait } = activitiesFor(input.timing, node.name);
      const target = await state.ahead.run(() => wait.prePullImage({ ...state.context, node }));
      if (input.place.group === 'control-plane') await before;
      const moved = state.learn(target);
      if (moved === undefined) state.pulled.push({ node, target });
      else state.stop(moved);
    } catch (error) {
      if (isCancellation(error)) state.stop('cancelled');
      else {
        const message = errorText(error);
        if (input.request.kind === 'KairosNode')
          await call.settleNode({ ...state.context, node, verdict: 'Failed', message });
        state.end({ node: node.name, outcome: 'Ended', verdict: 'Failed', message });
      }
    } finally {
      state.pulling -= 1;
    }
  };
  try {
    while (state.waiting.length > 0 && state.stopped === undefined) {
      await condition(() => state.mayPull() || state.stopped !== undefined);
      const node = state.stopped === undefined ? state.waiting.shift() : undefined;
      if (node === undefined) break;
      state.pulling += 1;
      pulls.push(pull(node, pulls.at(-1)));
    }
  } finally {
    // Also when cancelled: a pull that is still ending could make its pod again after the clean-up.
    await Promise.all(pulls);
  }
}

/** One place in the window: takes the next node that is ready, until there is none. */
async function runLane(input: WaveInput, state: WaveState): Promise<void> {
  for (;;) {
    state.idle += 1;
    try {
      await condition(() => state.mayStart() || state.isOver());
    } catch (error) {
      if (isCancellation(error)) state.stop('cancelled');
      throw error;
    } finally {
      state.idle -= 1;
    }
    const next = state.mayStart() ? state.pulled.shift() : undefined;
    if (next === undefined) {
      if (state.isOver()) return;
      // Another lane was quicker: all that wait are woken for one node.
      continue;
    }
    state.running += 1;
    try {
      await upgradeOrQueue(input, state, next);
    } finally {
      state.running -= 1;
    }
  }
}

async function upgradeOrQueue(input: WaveInput, state: WaveState, next: Pulled): Promise<void> {
  const { wait } = activitiesFor(input.timing, next.node.name);
  const result = await upgradeOne(input, state, next);
  if (result.outcome === 'Ended') {
    state.end(result);
    return;
  }
  try {
    const { context, places } = state;
    const place = await places.run(() =>
      wait.waitForPlace({ ...context, node: next.node, place: input.place, reason: result.message }),
    );
    if (place.open) state.pulled.push(next);
    else state.end({ node: result.node, outcome: 'Ended', verdict: 'Skipped', message: place.reason });
  } catch (error) {
    if (!isCancellation(error)) throw error;
    if (state.isPaused && !CancellationScope.current().consideredCancelled) state.pulled.push(next);
    else state.stop('cancelled');
  }
}

async function upgradeOne(input: WaveInput, state: WaveState, { node, target }: Pulled): Promise<NodeResult> {
  const run = (recover: boolean) =>
    executeChild(nodeUpgrade, {
      workflowId: nodeWorkflowID(input.cluster, node),
      args: [
        { ...state.context, timing: input.timing, node, place: input.place, target, ...(recover ? { recover } : {}) },
      ],
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      workflowTaskTimeout: input.timing.workflowTaskMs,
      staticSummary: `${node.name} → ${target.version}${recover ? ': finishing what was left' : ''}`.slice(0, 190),
      ...attributesFor(input, node.name),
    });
  try {
    return await run(false);
  } catch (error) {
    if (cutOff(error)) return recoverNode(state, node, error, () => run(true));
    return withoutResult(state, node, error);
  }
}

/** Whether somebody or something ended a child's workflow: it could not put its node in order itself. */
const cutOff = (error: unknown) =>
  error instanceof ChildWorkflowFailure &&
  (error.cause instanceof TerminatedFailure || error.cause instanceof TimeoutFailure);

/**
 * The workflow of a node was terminated: the node keeps its place until a run that recovers it has ended, however often
 * that one is terminated, too. Not cancelled with the wave: the node may be past the point of no return.
 */
async function recoverNode(
  state: WaveState,
  node: NodeRef,
  cause: unknown,
  recover: () => Promise<NodeResult>,
): Promise<NodeResult> {
  for (;;) {
    try {
      const result = await CancellationScope.nonCancellable(recover);
      if (result.outcome === 'Ended') return result;
      const message = 'its workflow was terminated before its image was touched: not tried again in this attempt';
      return { node: node.name, outcome: 'Ended', verdict: 'Cancelled', message };
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError)
        return { node: node.name, outcome: 'NotStarted', message: `node ${node.name} is being recovered` };
      if (!cutOff(error)) return withoutResult(state, node, cause);
    }
  }
}

/** What is said of a node whose workflow gave no result. */
function withoutResult(state: WaveState, node: NodeRef, error: unknown): NodeResult {
  const { name } = node;
  if (error instanceof WorkflowExecutionAlreadyStartedError)
    return { node: name, outcome: 'NotStarted', message: `another rollout has node ${name} in hand` };
  if (isCancellation(error)) {
    const message = 'cancelled before its image was touched';
    // Cancelled with the wave, or by somebody who named this node only.
    const cancelled = CancellationScope.current().consideredCancelled || state.stopped === 'cancelled';
    return { node: name, outcome: 'Ended', verdict: 'Cancelled', message, ...(cancelled ? { cancelled } : {}) };
  }
  if (!(error instanceof ChildWorkflowFailure)) throw error;
  const message = `its workflow did not end by itself: ${errorText(error)}`;
  return { node: name, outcome: 'Ended', verdict: 'Unverified', message };
}

/** What a wave knows while it runs. */
class WaveState {
  readonly waiting: NodeRef[];
  readonly pulled: Pulled[] = [];
  readonly context;
  /** The waits that hold no node: they end when the wave stops. */
  readonly ahead = new CancellationScope();
  /** The waits for a place: they end with a pause, so that a gate's deadline does not run while nothing may start. */
  places = new CancellationScope({ cancellable: true, parent: this.ahead });
  pulling = 0;
  idle = 0;
  running = 0;
  stopped: string | undefined;
  private paused: string | undefined;
  private readonly verdicts: Record<string, number> = {};
  private readonly failures: WaveResult['failed'] = [];
  private readonly targets: Record<string, Target>;
  private readonly input: WaveInput;

  constructor(input: WaveInput) {
    this.input = input;
    this.waiting = [...input.nodes];
    this.targets = { ...input.targets };
    if (input.paused !== undefined) this.pause(input.paused);
    this.context = { cluster: input.cluster, rolloutID: input.rolloutID, request: input.request, spec: input.spec };
  }

  mayPull(): boolean {
    const ahead = this.pulling + this.pulled.length;
    return (
      this.paused === undefined &&
      this.pulling < this.input.spec.prePullAhead &&
      ahead < this.input.spec.prePullAhead + this.idle
    );
  }

  mayStart(): boolean {
    return this.pulled.length > 0 && this.paused === undefined && this.stopped === undefined;
  }

  /** Whether no node will become ready any more: nothing to pull, nothing pulled, nothing that may come back. */
  isOver(): boolean {
    if (this.stopped !== undefined) return true;
    return this.waiting.length + this.pulling + this.pulled.length + this.running === 0;
  }

  /** Remembers what an image is; answers why the rollout must stop when the same tag now is something else. */
  learn(target: Target): string | undefined {
    const known = (this.targets[target.architecture] ??= target);
    if (
      known.version === target.version &&
      (known.digest === undefined || target.digest === undefined || known.digest === target.digest)
    )
      return undefined;
    return `image ${target.image} changed during the rollout: it was ${known.version} (${known.digest ?? 'no digest'}) and now is ${target.version} (${target.digest ?? 'no digest'}): name the image by its digest`;
  }

  get isPaused(): boolean {
    return this.paused !== undefined;
  }

  pause(reason: string | undefined): void {
    this.paused = reason ?? 'paused';
    this.places.cancel();
    this.show();
  }

  resume(): void {
    if (this.paused === undefined) return;
    this.paused = undefined;
    this.places = new CancellationScope({ cancellable: true, parent: this.ahead });
    this.show();
  }

  stop(why: string): void {
    if (this.stopped !== undefined) return;
    this.stopped = why;
    this.ahead.cancel();
  }

  end(result: NodeResult): void {
    const verdict: Verdict = result.verdict ?? 'Unverified';
    this.verdicts[verdict] = (this.verdicts[verdict] ?? 0) + 1;
    if (result.cancelled) this.stop('cancelled');
    const withdrawn = result.cancelled === true && verdict === 'Cancelled';
    if (!withdrawn && verdict !== 'Succeeded' && verdict !== 'AlreadyOnTarget') this.fail(result, verdict);
    this.show();
  }

  /** A node that somebody took out of the rollout by itself is no reason to stop, but for the control plane. */
  private fail(result: NodeResult, verdict: Verdict): void {
    if (this.failures.length < 100) this.failures.push({ name: result.node, verdict, message: result.message });
    const stops = this.input.spec.stopOnFailure && verdict !== 'Cancelled';
    if (stops || this.input.place.group === 'control-plane')
      this.stop(`node ${result.node} ended as ${verdict}: ${result.message}`);
  }

  result(): WaveResult {
    const ended = Object.values(this.verdicts).reduce((sum, count) => sum + count, 0);
    return {
      verdicts: this.verdicts,
      failed: this.failures,
      untouched: this.input.nodes.length - ended,
      targets: this.targets,
      ...(this.stopped === undefined ? {} : { stopped: this.stopped }),
    };
  }

  private show(): void {
    const done = Object.entries(this.verdicts).map(([verdict, count]) => `${verdict}: ${count}`);
    setCurrentDetails(
      `wave **${this.input.name}**, ${this.input.nodes.length} nodes\n\n${done.join(', ')}${this.paused === undefined ? '' : `\n\npaused: ${this.paused}`}`,
    );
  }
}
