import { defineQuery, defineSignal } from '@temporalio/workflow';

/** Messages take one JSON object, so that the `temporal` CLI and the UI are enough to send them. */
export const pauseSignal = defineSignal<[{ reason?: string }?]>('pause');
export const resumeSignal = defineSignal<[{ reason?: string }?]>('resume');

export interface RolloutState {
  phase: string;
  wave?: string;
  paused?: string;
  verdicts: Record<string, number>;
}

export const stateQuery = defineQuery<RolloutState>('state');
