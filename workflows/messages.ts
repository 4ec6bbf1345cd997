import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Asked, ControlAnswer, ControlState, Paused } from '../api/control-messages.ts';
import type { PlanReport } from '../api/plan-messages.ts';

/**
 * Messages take one JSON object, so that the `temporal` CLI and the UI are enough to send them. `by` is set by the
 * watcher for what a person wrote with kubectl; `who` is whoever a person says they are.
 */
export interface AskMessage {
  reason?: string;
  who?: string;
  by?: 'kubectl' | 'temporal';
}

export type PauseMessage = AskMessage;

export type ResumeMessage = AskMessage;

export interface ApproveMessage extends AskMessage {
  wave?: string;
}

export interface SkipMessage extends AskMessage {
  /** One name, or several with commas between them. */
  node?: string;
}

export interface RetryMessage extends AskMessage {
  /** One name, or several with commas between them; without it, or `*`: all nodes that have failed. */
  node?: string;
}

export type AbortMessage = AskMessage;

export const pauseSignal = defineSignal<[PauseMessage?]>('pause');
export const resumeSignal = defineSignal<[ResumeMessage?]>('resume');
/** Like the signals, but they answer: accepted, or why not. */
export const pauseUpdate = defineUpdate<string, [PauseMessage?]>('pause');
export const resumeUpdate = defineUpdate<string, [ResumeMessage?]>('resume');

/** Sent by the watcher before it cancels a rollout: why it does, and who wrote what it does that for. */
export const whyCancelledSignal = defineSignal<[AskMessage?]>('whyCancelled');

/** What a person asks of a rollout, each as an update, which answers, and as a signal, which waits for a worker. */
export const requests = {
  approve: {
    update: defineUpdate<string, [ApproveMessage?]>('approve'),
    signal: defineSignal<[ApproveMessage?]>('approve'),
  },
  skip: { update: defineUpdate<string, [SkipMessage?]>('skip'), signal: defineSignal<[SkipMessage?]>('skip') },
  retry: { update: defineUpdate<string, [RetryMessage?]>('retry'), signal: defineSignal<[RetryMessage?]>('retry') },
  abort: { update: defineUpdate<string, [AbortMessage?]>('abort'), signal: defineSignal<[AbortMessage?]>('abort') },
} as const;

export interface RolloutState {
  phase: string;
  wave?: string;
  paused?: Paused;
  /** The wave that waits until a person approves it. */
  approval?: { wave: string; since: string };
  verdicts: Record<string, number>;
}

/** What people asked of a rollout, as it is shown to them; `leavingOut`: nodes that are to be left out and have not ended. */
export interface ShownRequests extends Partial<Pick<ControlState, 'approvals' | 'skipped' | 'requests'>> {
  leavingOut?: ControlState['skipped'];
}

export const stateQuery = defineQuery<RolloutState & ShownRequests>('state');

/** The whole report of a plan, of which the resource shows a part; null before it was made. */
export const planQuery = defineQuery<PlanReport | null>('plan');

/** From a rollout to the wave that runs: leave this node out. Answered to the rollout, by `token`. */
export const skipNodeSignal = defineSignal<[{ token: string; node: string; asked: Asked }]>('skipNode');
/** From a rollout to the wave that runs: hand these failed nodes back, or all of them. Answered by `token`. */
export const retryNodesSignal = defineSignal<[{ token: string; nodes?: string[] }]>('retryNodes');

/**
 * From a wave to the workflow of a node: let go of it if that can be done. `skip`: up to the point of no return.
 * `pause`: up to the cordon. Ignored by the workflow that another rollout has for this node.
 */
export const withdrawSignal =
  defineSignal<[{ rolloutID: string; skip?: { token: string; asked: Asked }; pause?: true }]>('withdraw');

/** To a rollout: the answer to what it asked of a wave. */
export const answerSignal = defineSignal<[ControlAnswer & { token: string }]>('answer');
