import { ActivityFailure, ChildWorkflowFailure } from '@temporalio/common';

/** The message of the error behind an activity's or a child's failure: what a person needs, without the wrapping. */
export function errorText(error: unknown): string {
  if ((error instanceof ActivityFailure || error instanceof ChildWorkflowFailure) && error.cause !== undefined)
    return errorText(error.cause);
  return error instanceof Error ? error.message : String(error);
}
