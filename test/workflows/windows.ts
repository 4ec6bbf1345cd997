import type { WorkflowHandle } from '@temporalio/client';

/** How many node workflows of a wave were open at once, at most: from its history, which is the truth. */
export async function mostInHand(wave: WorkflowHandle): Promise<number> {
  return most(await wave.fetchHistory(), {
    opens: (event) => event.startChildWorkflowExecutionInitiatedEventAttributes != null,
    closes: (event) =>
      event.childWorkflowExecutionCompletedEventAttributes != null ||
      event.childWorkflowExecutionCanceledEventAttributes != null ||
      event.childWorkflowExecutionFailedEventAttributes != null,
  });
}

/** How many calls of an activity were open at once, at most. */
export async function mostAtOnce(workflow: WorkflowHandle, activity: string): Promise<number> {
  const calls = new Set<string>();
  return most(await workflow.fetchHistory(), {
    opens: (event) => {
      const ours = event.activityTaskScheduledEventAttributes?.activityType?.name === activity;
      if (ours) calls.add(String(event.eventId));
      return ours;
    },
    closes: (event) => calls.has(String(event.activityTaskCompletedEventAttributes?.scheduledEventId)),
  });
}

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;
type Event = NonNullable<History['events']>[number];

function most(history: History, window: { opens(event: Event): boolean; closes(event: Event): boolean }): number {
  let open = 0;
  let peak = 0;
  for (const event of history.events ?? []) {
    if (window.opens(event)) peak = Math.max(peak, ++open);
    if (window.closes(event)) open -= 1;
  }
  return peak;
}
