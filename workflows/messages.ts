import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';

/**
 * Messages take one JSON object, so that the `temporal` CLI and the UI are enough to send them. `by` is set by the
 * watcher for what a person wrote with kubectl.
 */
export interface PauseMessage {
  reason?: string;
  by?: 'kubectl' | 'temporal';
}

export interface ResumeMessage {
  by?: 'kubectl' | 'temporal';
}

export const pauseSignal = defineSignal<[PauseMessage?]>('pause');
export const resumeSignal = defineSignal<[ResumeMessage?]>('resume');
/** Like the signals, but they answer: accepted, or why not. */
export const pauseUpdate = defineUpdate<string, [PauseMessage?]>('pause');
export const resumeUpdate = defineUpdate<string, [ResumeMessage?]>('resume');

export interface RolloutState {
  phase: string;
  wave?: string;
  paused?: { by: 'kubectl' | 'temporal'; reason: string; since: string };
  verdicts: Record<string, number>;
}

export const stateQuery = defineQuery<RolloutState>('state');
