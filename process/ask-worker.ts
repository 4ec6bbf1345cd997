import { Client, type Connection } from '@temporalio/client';
import { taskQueue, WORKFLOW_NAMES, type CheckAnswer, type CheckInput } from '../api/messages.ts';

const CALL_MS = 5_000;

/** No worker of this cluster did what was asked of it in time. */
export class NoWorkerError extends Error {
  override readonly name = 'NoWorkerError';
}

/**
 * Has a worker of this cluster answer through Temporal: the queue is taken from, workflows and activities run, and the
 * worker reaches the API server. What was asked ends by itself when nobody answers.
 * @throws NoWorkerError when none answers within the time; what gRPC says when Temporal itself does not
 */
export async function askWorker(
  connection: Connection,
  namespace: string,
  input: CheckInput,
  withinMs: number,
): Promise<CheckAnswer> {
  const client = new Client({ connection, namespace });
  const queue = taskQueue(input.cluster);
  const handle = await connection.withDeadline(Date.now() + CALL_MS, () =>
    client.workflow.start(WORKFLOW_NAMES.check, {
      workflowId: `check/${input.cluster.id}/${crypto.randomUUID()}`,
      taskQueue: queue,
      args: [input],
      workflowExecutionTimeout: withinMs,
      staticSummary: 'proves that a worker answers',
    }),
  );
  try {
    return (await connection.withDeadline(Date.now() + withinMs + CALL_MS, () => handle.result())) as CheckAnswer;
  } catch (error) {
    throw new NoWorkerError(
      `no worker answers on ${queue} in Temporal's namespace ${namespace} within ${withinMs / 1000} s: check that the worker runs and is ready (kubectl get pods -l app.kubernetes.io/name=kairos-worker), and has the KAIROS_CLUSTER_NAME, TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE that are set here`,
      { cause: error },
    );
  }
}
