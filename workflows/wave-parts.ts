import { ChildWorkflowFailure } from '@temporalio/common';
import {
  CancellationScope,
  ParentClosePolicy,
  condition,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  setHandler,
  startChild,
  workflowInfo,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import { waveWorkflowID, type NodeRef, type PrecedingPart, type WaveInput } from '../api/messages.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { attributesFor } from './search-attributes.ts';
import type { wave } from './wave.ts';
import type { WaveControl } from './wave-control.ts';
import type { WaveState } from './wave-state.ts';

/** From one part of a wave to the one behind it. */
const precedingSignal = defineSignal<[PrecedingPart]>('preceding');
/** From one part of a wave to the one before it: nothing may be started there either. */
const stopSignal = defineSignal<[{ reason: string }]>('stop');

type Part = ChildWorkflowHandle<typeof wave>;

export function listenToParts(state: WaveState, control: WaveControl): void {
  const sent = 'Sent by the other parts of a large wave; not for people.';
  const follow = (preceding: PrecedingPart) => {
    const wasPaused = state.isPaused;
    state.follow(preceding);
    if (state.isPaused && !wasPaused) control.pause();
  };
  setHandler(precedingSignal, follow, { description: sent });
  setHandler(stopSignal, ({ reason }) => state.stop(reason), { description: sent });
}

/**
 * Runs the nodes behind this part's in a workflow of its own. It begins, with its pulls, when this part has nothing
 * left to pull, and gets the places as they become free: no barrier, and never more nodes out than the budget allows.
 * What it did is part of the wave's state when it is over.
 */
export async function runNextPart(input: WaveInput, state: WaveState, control: WaveControl): Promise<void> {
  const rest = input.nodes.slice(state.nodes.length);
  try {
    await condition(() => state.waiting.length === 0 || state.stopped !== undefined);
    if (state.stopped !== undefined) return;
    const { child, told } = await startPart(input, state, control, rest);
    control.next.started(child);
    let over = false;
    const ended = untilOver(child, input, state, rest).finally(() => {
      over = true;
      control.next.ended();
    });
    await tell(child, state, told, () => over);
    await ended;
  } catch (error) {
    if (!isCancellation(error)) throw error;
    state.stop('cancelled');
  }
}

async function startPart(
  input: WaveInput,
  state: WaveState,
  control: WaveControl,
  rest: NodeRef[],
): Promise<{ child: Part; told: PrecedingPart }> {
  const part = (input.goesOn?.part ?? 1) + 1;
  const told = state.forNext();
  const { paused: _paused, skips: _skips, ...shared } = input;
  const skips = control.next.starts();
  const child = await startChild<typeof wave>('wave', {
    workflowId: waveWorkflowID(input.rolloutID, input.request, `${input.name}.part-${part}`),
    args: [
      {
        ...shared,
        nodes: rest,
        targets: state.knownTargets,
        goesOn: { part, preceding: told },
        ...(Object.keys(skips).length === 0 ? {} : { skips }),
      },
    ],
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    workflowTaskTimeout: input.timing.workflowTaskMs,
    staticSummary: `wave ${input.name}, part ${part}: ${rest.length} nodes`,
    ...attributesFor(input),
  });
  return { child, told };
}

/** Tells the next part what has changed since it was told last, until it is over. */
async function tell(child: Part, state: WaveState, first: PrecedingPart, over: () => boolean): Promise<void> {
  await CancellationScope.nonCancellable(async () => {
    for (let told = first; ;) {
      const before = JSON.stringify(told);
      await condition(() => over() || JSON.stringify(state.forNext()) !== before);
      if (over()) return;
      told = state.forNext();
      try {
        await child.signal(precedingSignal, told);
      } catch {
        // It has just ended.
      }
    }
  });
}

/** As a rollout does with its waves: one that cannot say what it did is settled, and what it belongs to stops. */
async function untilOver(child: Part, input: WaveInput, state: WaveState, rest: NodeRef[]): Promise<void> {
  try {
    state.partsEnded(await child.result());
  } catch (error) {
    if (!(error instanceof ChildWorkflowFailure)) throw error;
    const stopped = `a part of wave ${input.name} did not end by itself (${errorText(error)})`;
    state.stop(stopped);
    const settled = await CancellationScope.nonCancellable(() =>
      activitiesFor(input.timing).wait.settleWave({ context: state.context, nodes: rest }),
    );
    state.partsEnded({ ...settled, targets: {}, stopped });
  }
}

/** A part that starts no further node says so to the one before it, which may have nodes left: the wave stops as one. */
export async function tellOfStop(state: WaveState): Promise<void> {
  await CancellationScope.nonCancellable(() => condition(() => state.isOver()));
  const { parent } = workflowInfo();
  const { stopped } = state;
  if (stopped === undefined || stopped === 'cancelled' || parent === undefined || state.wasToldToStop) return;
  try {
    await CancellationScope.nonCancellable(() =>
      getExternalWorkflowHandle(parent.workflowId).signal(stopSignal, { reason: stopped }),
    );
  } catch {
    // Nobody is there any more.
  }
}
