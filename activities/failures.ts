import { ApplicationFailure } from '@temporalio/common';
import { KubeError } from '../kube/errors.ts';

/**
 * What the engine should know of an error: whether repeating helps, and when. Forbidden and Invalid never mend by
 * themselves and end the step; a conflict is decided anew by the next attempt; everything else may pass.
 * `mustSucceed`: for steps that a workflow cannot end without; they are repeated for ever, until somebody mends what
 * the error names.
 */
export function toFailure(error: unknown, mustSucceed: boolean): unknown {
  if (!(error instanceof KubeError)) return error;
  const retryable = mustSucceed || error.retryable || error.reason === 'Conflict' || error.reason === 'NotFound';
  return ApplicationFailure.create({
    message: error.message,
    type: error.reason,
    nonRetryable: !retryable,
    ...(error.retryAfterMs === undefined ? {} : { nextRetryDelay: error.retryAfterMs }),
    cause: error,
  });
}
