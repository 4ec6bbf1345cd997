import {
  CancellationScope,
  ParentClosePolicy,
  condition,
  isCancellation,
  patched,
  setHandler,
  startChild,
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
  type PulledInVain,
  type Target,
  type WaveInput,
  type WaveResult,
} from '../api/messages.ts';
import type { PlaceAnswer } from '../activities/place.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { pauseSignal, resumeSignal } from './messages.ts';
import { listenToParts, runNextPart, tellOfStop } from './wave-parts.ts';
import { attributesFor } from './search-attributes.ts';
import { nodeUpgrade } from './node-upgrade.ts';
import { WaveControl } from './wave-control.ts';
import { PULLED_AGAIN, WaveState, type Pulled } from './wave-state.ts';

/**
 * Upgrades a group of nodes, never more than `place.budget` in hand at once. A sliding window: a slow node holds up
 * nobody else. Images are pulled ahead of the window, so a slow link is never paid for while a node is out.
 *
 * All waiting is done here, before a node's own workflow starts: a node that cannot start now goes to the end of the
 * queue, after one activity has waited for its place. Nodes in hand are always finished, whatever stops the wave.
 *
 * A wave of very many nodes goes on in a workflow of its own, and that one in the next: the history of one would be too
 * long. They share the budget, and are one wave for whoever pauses or cancels it.
 */
export async function wave(input: WaveInput): Promise<WaveResult> {
  const state = new WaveState(input);
  const control = new WaveControl(input, state);
  const pause = (reason: string | undefined) => {
    state.pause(reason);
    control.pause();
  };
  setHandler(pauseSignal, (asked) => pause(asked?.reason), { description: 'Start no further node. {"reason": "…"}' });
  setHandler(resumeSignal, () => state.resume(), { description: 'Go on after a pause.' });

  listenToParts(state, control);
  if (input.skips !== undefined) await control.begin();

  const most = Math.min(input.place.budget, state.nodes.length);
  const lanes = Array.from({ length: Math.min(state.lanes, most) }, () => runLane(input, state, control));
  const later: Promise<void>[] = [];
  const next = state.hasNext ? runNextPart(input, state, control) : undefined;
  const ended = await Promise.allSettled([
    pullAhead(input, state, control),
    ...lanes,
    ...(next === undefined ? [] : [next]),
    ...(input.goesOn === undefined
      ? []
      : [openLanes(input, state, control, { first: lanes.length, most, later }), tellOfStop(state)]),
  ]);
  ended.push(...(await Promise.allSettled(later)));
  const failed = ended.find((lane) => lane.status === 'rejected' && !isCancellation(lane.reason));
  if (failed?.status === 'rejected') throw failed.reason;
  // Cancelled or not: a workflow that closes as cancelled has no result, and what was done would be lost with it.
  return state.result();
}

/**
 * Pulls the image on the next nodes, `prePullAhead` at a time, as long as somebody will need them. Control-plane nodes
 * are handed over in the plan's order, which has its reasons; a worker never waits for another one's pull.
 */
async function pullAhead(input: WaveInput, state: WaveState, control: WaveControl): Promise<void> {
  const { call } = activitiesFor(input.timing);
  const pulls: Promise<void>[] = [];
  const pull = async (node: NodeRef, before: Promise<void> | undefined) => {
    try {
      const { wait } = activitiesFor(input.timing, node.name);
      let target = await state.ahead.run(() => wait.prePullImage({ ...state.context, node }));
      if (input.place.group === 'control-plane') await before;
      if (isInVain(target)) return state.end(leftOut(node, target));
      let moved = state.learn(target);
      if (moved !== undefined && patched(PULLED_AGAIN)) {
        // What the node has may be old: the tag is looked up once more before it is said to have moved.
        target = await state.ahead.run(() => wait.prePullImage({ ...state.context, node, again: true }));
        if (isInVain(target)) return state.end(leftOut(node, target));
        moved = state.learn(target);
      }
      const stop = moved ?? target.refused;
      if (stop !== undefined) state.stop(stop);
      else if (control.isLeftOut(node)) await control.leaveOut(node);
      else state.pulled.push({ node, target });
    } catch (error) {
      if (isCancellation(error)) state.stop('cancelled');
      else if (control.isLeftOut(node)) await control.leaveOut(node);
      else {
        const message = errorText(error);
        await call.settleNode({ ...state.context, node, verdict: 'Failed', message });
        state.end({ node: node.name, outcome: 'Ended', verdict: 'Failed', message });
      }
    } finally {
      state.pulling -= 1;
    }
  };
  try {
    while (state.waiting.length > 0 && state.stopped === undefined) {
      await condition(() => state.mayPull() || state.stopped !== undefined || state.waiting.length === 0);
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

const isInVain = (answer: Target | PulledInVain): answer is PulledInVain =>
  'gone' in answer || 'supersededBy' in answer;

/** How a node ends that went, or was left to somebody else, before anything was done to it. */
const leftOut = ({ name }: NodeRef, answer: PulledInVain): NodeResult => ({
  node: name,
  outcome: 'Ended',
  verdict: 'gone' in answer ? 'Skipped' : 'Superseded',
  ...answer,
});

/** Opens more lanes, up to `most`, as the parts of the wave before this one leave their places. */
async function openLanes(
  input: WaveInput,
  state: WaveState,
  control: WaveControl,
  { first, most, later }: { first: number; most: number; later: Promise<void>[] },
): Promise<void> {
  const count = () => first + later.length;
  try {
    while (count() < most && !state.isOver()) {
      await condition(() => state.lanes > count() || state.isOver());
      while (count() < Math.min(most, state.lanes)) {
        const lane = runLane(input, state, control);
        // Its end is looked at with that of the others.
        lane.catch(() => undefined);
        later.push(lane);
      }
    }
  } catch (error) {
    if (isCancellation(error)) state.stop('cancelled');
    throw error;
  }
}

/** One place in the window: takes the next node that is ready, until there is none. */
async function runLane(input: WaveInput, state: WaveState, control: WaveControl): Promise<void> {
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
    const next = state.next();
    if (next === undefined) {
      if (state.isOver()) return;
      // Another lane was quicker: all that wait are woken for one node.
      continue;
    }
    state.running += 1;
    try {
      if (next.host === true) await state.alone(() => upgradeOrQueue(input, state, control, next));
      // Where nothing is asked nothing is waited for either: earlier histories have their commands in that order.
      else if (!asksHosting(state) || !(await setAside(input, state, control, next)))
        await upgradeOrQueue(input, state, control, next);
    } finally {
      state.running -= 1;
    }
  }
}

const asksHosting = (state: WaveState) => state.asksHosting && patched('hosts-last');

/**
 * Whether a node is not to be started now: it carries the operator, or what that runs on, and others are left; or the
 * wave was held up while that was asked. Asked as late as that, since those pods move with every drain.
 */
async function setAside(input: WaveInput, state: WaveState, control: WaveControl, next: Pulled): Promise<boolean> {
  try {
    const { pods } = await activitiesFor(input.timing).ask.readHosting({ ...state.context, node: next.node });
    if (control.isLeftOut(next.node)) await control.leaveOut(next.node);
    else if (pods.length > 0) state.setAside(next);
    else if (state.isHeldUp()) state.pulled.unshift(next);
    else return false;
  } catch (error) {
    if (!isCancellation(error)) throw error;
    state.stop('cancelled');
  }
  return true;
}

async function upgradeOrQueue(input: WaveInput, state: WaveState, control: WaveControl, next: Pulled): Promise<void> {
  const { wait } = activitiesFor(input.timing, next.node.name);
  control.takesInHand(next.node);
  const result = await upgradeOne(input, state, control, next);
  control.letGo(result);
  if (result.outcome === 'Ended') {
    state.end(result);
    return;
  }
  if (control.isLeftOut(next.node)) return control.leaveOut(next.node);
  const { context, places } = state;
  try {
    const place = await places.run(() =>
      control.atItsGate(next.node, () =>
        wait.waitForPlace({ ...context, ...next, place: input.place, reason: result.message }),
      ),
    );
    if (control.isLeftOut(next.node)) await control.leaveOut(next.node);
    else if (place.open) state.pulled.push(next);
    else {
      if (place.stop !== undefined) state.stop(place.stop);
      state.end(withoutPlace(result.node, place));
    }
  } catch (error) {
    const over = CancellationScope.current().consideredCancelled || state.stopped !== undefined;
    if (!over && control.isLeftOut(next.node)) return control.leaveOut(next.node);
    // Ended by a pause, which may be over meanwhile; and an attempt that fails after its cancel is not repeated.
    if (!over && places.consideredCancelled) state.pulled.push(next);
    else if (over || isCancellation(error)) state.stop('cancelled');
    else throw error;
  }
}

/** How a node ends that got no place: nobody was let in, or it is left to somebody else. */
const withoutPlace = (node: string, { reason, supersededBy }: Extract<PlaceAnswer, { open: false }>): NodeResult => ({
  node,
  outcome: 'Ended',
  verdict: supersededBy === undefined ? 'Skipped' : 'Superseded',
  message: reason,
  ...(supersededBy === undefined ? {} : { supersededBy }),
});

async function upgradeOne(
  input: WaveInput,
  state: WaveState,
  control: WaveControl,
  { node, target }: Pulled,
): Promise<NodeResult> {
  const run = async (recover: boolean) => {
    const child = await startChild(nodeUpgrade, {
      workflowId: nodeWorkflowID(input.cluster, node),
      args: [
        { ...state.context, timing: input.timing, node, place: input.place, target, ...(recover ? { recover } : {}) },
      ],
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      workflowTaskTimeout: input.timing.workflowTaskMs,
      staticSummary: `${node.name} → ${target.version}${recover ? ': finishing what was left' : ''}`.slice(0, 190),
      ...attributesFor(input, node.name),
    });
    control.started(node);
    return child.result();
  };
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
