import { ApplicationFailure } from '@temporalio/common';
import { KubeError } from '../kube/errors.ts';

/**
 * What the engine should know of an error: whether repeating helps, and when. Forbidden and Invalid never mend by
 * themselves and end the step; a conflict is decided anew by the next attempt; everything else may pass.
 */
export function toFailure(error: unknown): unknown {
  if (!(error instanceof KubeError)) return error;
  const retryable = error.retryable || error.reason === 'Conflict' || error.reason === 'NotFound';
  return ApplicationFailure.create({
    message: error.message,
    type: error.reason,
    nonRetryable: !retryable,
    ...(error.retryAfterMs === undefined ? {} : { nextRetryDelay: error.retryAfterMs }),
    cause: error,
  });
}
