import { CancelledFailure, ChildWorkflowFailure } from '@temporalio/common';
import { CancellationScope, ParentClosePolicy, startChild, type ChildWorkflowHandle } from '@temporalio/workflow';
import {
  waveWorkflowID,
  type FailedNode,
  type RolloutContext,
  type RolloutInput,
  type WaveInput,
  type WaveResult,
} from '../api/messages.ts';
import type { Asked } from '../api/control-messages.ts';
import type { Plan, PlannedWave } from '../api/plan-messages.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import type { RolloutControl } from './rollout-control.ts';
import type { RolloutRecord } from './rollout-record.ts';
import { attributesFor } from './search-attributes.ts';
import { wave } from './wave.ts';

/** The waves of a plan. Plans in histories of earlier versions name the two groups only. */
export function wavesOf(plan: Plan): PlannedWave[] {
  const earlier: PlannedWave[] = [
    { name: 'control-plane', group: 'control-plane', nodes: plan.controlPlane, budget: 1 },
    { name: 'workers', group: 'worker', nodes: plan.workers, budget: plan.maxUnavailable },
  ];
  return (plan.waves ?? earlier).filter(({ nodes }) => nodes.length > 0);
}

interface Said {
  maxFailed?: number | undefined;
  retried?: number;
  warning?: string | undefined;
}

/**
 * Runs one wave to its end, and adds what it did to the record. Throws CancelledFailure after a cancel, then too.
 * `maxFailed`: how many nodes of the whole rollout may fail, where the plan says it. `retried`: how many of its nodes had
 * failed before, and may fail again, where only waves say it. `warning` is said with its beginning.
 */
export async function runWave(
  input: RolloutInput,
  record: RolloutRecord,
  control: RolloutControl,
  planned: PlannedWave,
  { maxFailed, retried, warning }: Said = {},
): Promise<WaveResult> {
  const { name, nodes, budget } = planned;
  record.begins(name);
  await record.report(
    'Running',
    `wave ${name}: ${nodes.length} nodes, at most ${budget} out at once${warning === undefined ? '' : `; ${warning}`}`,
  );
  const skips = control.requests.begins(planned);
  // What failed within its budget and fails once more is within it still.
  const stopsFor = maxFailed === undefined && input.spec.stopOnFailure ? retried : undefined;
  const ofWave = planned.maxFailed ?? stopsFor;
  const failures: NonNullable<WaveInput['failures']> = {
    before: record.counted,
    ...(ofWave === undefined ? {} : { wave: ofWave }),
    ...(maxFailed === undefined ? {} : { rollout: maxFailed }),
  };
  let result: WaveResult | undefined;
  try {
    const child = await begin(input, record, control, { planned, failures, skips });
    result = await resultOf(child, input, record, control, planned);
    record.add(result);
    if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('rollout cancelled');
    return result;
  } finally {
    // Also where it did not come to its start: nodes that were to be tried again are what they were.
    control.over(planned, result);
  }
}

interface Begun extends Required<Pick<WaveInput, 'failures' | 'skips'>> {
  planned: PlannedWave;
}

async function begin(
  input: RolloutInput,
  record: RolloutRecord,
  control: RolloutControl,
  { planned, failures, skips }: Begun,
): Promise<ChildWorkflowHandle<typeof wave>> {
  const { name, nodes, group, budget, segment } = planned;
  const paused = record.state.paused?.reason;
  const child = await startChild(wave, {
    workflowId: waveWorkflowID(record.context.rolloutID, input.request, name),
    args: [
      {
        ...contextOf(record, planned),
        timing: input.timing,
        name,
        nodes,
        place: { group, budget },
        targets: record.targets,
        failures,
        ...(segment === undefined ? {} : { segment }),
        ...(paused === undefined ? {} : { paused }),
        ...(Object.keys(skips).length === 0 ? {} : { skips }),
      },
    ],
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    workflowTaskTimeout: input.timing.workflowTaskMs,
    staticSummary: `wave ${name}: ${nodes.length} nodes`,
    ...attributesFor({ ...record.context, timing: input.timing }),
  });
  control.started(child);
  // What was asked for while the wave was being started.
  if (record.state.paused?.reason !== paused) void control.tell(child);
  return child;
}

/** A wave that was settled does not know which of them a person had left out: they are no failures. */
function withLeftOut(result: WaveResult, skips: Readonly<Record<string, Asked>>): WaveResult {
  const isLeftOut = ({ name, verdict }: FailedNode) => verdict === 'Skipped' && skips[name] !== undefined;
  const names = result.failed.filter(isLeftOut).map(({ name }) => name);
  if (names.length === 0) return result;
  const failed = result.failed.filter((node) => !isLeftOut(node));
  return { ...result, failed, skipped: [...(result.skipped ?? []), ...names] };
}

/** What its activities are told: which try of its nodes this is, where they are tried again. */
function contextOf({ context }: RolloutRecord, planned: PlannedWave): RolloutContext {
  return planned.try === undefined ? context : { ...context, request: { ...context.request, try: planned.try } };
}

/**
 * Waits until the nodes of a wave that were upgraded have stayed Ready for the soak that the plan gives it. Answers why
 * nothing may be started any more, or undefined. A pause does not hold the soak, and neither does it a pause.
 */
export async function soakAfter(
  input: RolloutInput,
  record: RolloutRecord,
  { name, nodes, soakMs }: PlannedWave,
): Promise<string | undefined> {
  if (soakMs === undefined) return undefined;
  const until = new Date(Date.now() + soakMs).toISOString();
  record.soakUntil = until;
  await record.report('Running', `wave ${name} soaks, until ${until} at the earliest`);
  const apart = new Set([...record.failed.map((node) => node.name), ...record.gone]);
  // An attempt that is cut off begins the soak anew: it gets the time that the whole wait may take.
  const waitAttemptMs = input.timing.waitAttemptMs + soakMs + input.spec.gateTimeoutMs;
  const { wait } = activitiesFor({ ...input.timing, waitAttemptMs }, `wave ${name} soaks`);
  try {
    const answer = await wait.soakWave({
      ...record.context,
      wave: name,
      nodes: nodes.filter((node) => !apart.has(node.name)),
      waveSoakMs: soakMs,
    });
    return answer.open ? undefined : answer.reason;
  } finally {
    record.soakUntil = undefined;
  }
}

/**
 * A wave that was terminated, or failed, gave no result, and its nodes are being cancelled. The rollout goes on only
 * when each of them is in nobody's hand any more, and reads their verdicts from the nodes themselves.
 */
async function resultOf(
  child: ChildWorkflowHandle<typeof wave>,
  input: RolloutInput,
  record: RolloutRecord,
  { requests }: RolloutControl,
  planned: PlannedWave,
): Promise<WaveResult> {
  const { name, nodes } = planned;
  try {
    const result = await child.result();
    if (result.stopped !== 'cancelled' || CancellationScope.current().consideredCancelled) return result;
    return { ...result, stopped: `wave ${name} was cancelled by itself` };
  } catch (error) {
    if (!(error instanceof ChildWorkflowFailure)) throw error;
    const stopped = `wave ${name} did not end by itself (${errorText(error)})`;
    await record.report('Running', `${stopped}: waiting until none of its nodes is in hand`);
    const settled = await CancellationScope.nonCancellable(() =>
      activitiesFor(input.timing).wait.settleWave({ context: contextOf(record, planned), nodes }),
    );
    return withLeftOut({ ...settled, targets: record.targets, stopped }, requests.state.skips);
  }
}
