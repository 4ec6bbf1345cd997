import {
  ApplicationFailure,
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  executeChild,
  getExternalWorkflowHandle,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  sleep,
  startChild,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { ActivityCancellationType, ParentClosePolicy } from '@temporalio/workflow';

/** Workflows for the driver's own tests: what the product does not use, or not in each way. */
const retry = { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '10s', maximumAttempts: 5 };
const { work } = proxyActivities<{ work(input: unknown): Promise<string> }>({
  startToCloseTimeout: '1m',
  retry: { ...retry, nonRetryableErrorTypes: ['Final'] },
});
const local = proxyLocalActivities<{ work(input: unknown): Promise<string> }>({
  startToCloseTimeout: '1m',
  retry: { ...retry, initialInterval: '50s', maximumInterval: '10m' },
});

/** How long each thing took, by the workflow's own clock. */
export async function clocks(): Promise<Record<string, unknown>> {
  const begun = Date.now();
  await sleep('3 days');
  const slept = Date.now() - begun;
  const inTime = await condition(() => false, '1h');
  return { slept, inTime, waited: Date.now() - begun - slept, random: Math.random(), uuid: uuid4() };
}

export async function retries(kind: 'remote' | 'local'): Promise<{ answer: string; tookMs: number }> {
  const begun = Date.now();
  const answer = await (kind === 'remote' ? work : local.work)({});
  return { answer, tookMs: Date.now() - begun };
}

export const setUpdate = defineUpdate<number, [number]>('set');
export const endSignal = defineSignal('end');
export const valueQuery = defineQuery<number>('value');

/** Takes updates until it is told to end. */
export async function register(): Promise<number> {
  let value = 0;
  let ended = false;
  const set = async (next: number) => {
    await work({ next });
    const before = value;
    value = next;
    return before;
  };
  const validator = (next: number) => {
    if (next < 0) throw ApplicationFailure.nonRetryable('must not be negative', 'Negative');
  };
  setHandler(setUpdate, set, { validator });
  setHandler(endSignal, () => void (ended = true));
  setHandler(valueQuery, () => value);
  await condition(() => ended && allHandlersFinished());
  return value;
}

/** Counts down in runs of its own. */
export async function countdown(left: number, runs: string[] = []): Promise<string[]> {
  const seen = [...runs, workflowInfo().runId];
  await sleep('1m');
  return left === 0 ? seen : continueAsNew<typeof countdown>(left - 1, seen);
}

/** One activity, cancelled by its scope after a minute. */
export async function cancels(cancellationType: ActivityCancellationType): Promise<{ outcome: string; atMs: number }> {
  const begun = Date.now();
  const { wait } = proxyActivities<{ wait(input: unknown): Promise<string> }>({
    startToCloseTimeout: '1h',
    heartbeatTimeout: '10s',
    cancellationType,
  });
  const scope = new CancellationScope();
  const waiting = scope.run(() => wait({})).catch((error: Error) => error.cause?.constructor.name ?? error.name);
  await sleep('1m');
  scope.cancel();
  return { outcome: await waiting, atMs: Date.now() - begun };
}

export async function child(): Promise<string> {
  const outcome = await sleep('1h').catch((error: Error) => error.name);
  await CancellationScope.nonCancellable(() => sleep('1m'));
  return outcome ?? 'slept';
}

export async function parent(parentClosePolicy: ParentClosePolicy): Promise<void> {
  await startChild(child, { workflowId: 'child', parentClosePolicy });
}

/** Two children of one id, and a message to each of a workflow that is there and one that is not. */
export async function siblings(): Promise<string[]> {
  const first = await startChild(child, { workflowId: 'child' });
  const second = await executeChild(child, { workflowId: 'child' }).catch((error: Error) => error.name);
  await getExternalWorkflowHandle('other').signal(endSignal);
  const nobody = await getExternalWorkflowHandle('nobody')
    .signal(endSignal)
    .catch((error: Error) => error.message);
  return [await first.result(), second ?? '', nobody ?? ''];
}

export async function patchedFlow(): Promise<boolean> {
  const isNew = patched('a-change');
  await sleep('1m');
  return isNew && patched('a-change');
}

/** Wrong on purpose: rolls a die that is not the workflow's own. */
export async function wayward(): Promise<void> {
  await sleep(1 + 1_000_000 * workflowInfo().unsafe.random.random());
}
