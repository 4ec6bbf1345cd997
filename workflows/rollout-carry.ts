import { CancelledFailure } from '@temporalio/common';
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  makeContinueAsNewFunc,
  workflowInfo,
} from '@temporalio/workflow';
import type { CarriedRollout, RolloutInput } from '../api/messages.ts';
import type { Plan, PlannedWave } from '../api/plan-messages.ts';
import type { RolloutControl } from './rollout-control.ts';
import type { RolloutRecord } from './rollout-record.ts';
import type { rollout } from './rollout.ts';

/** Whether the history of this run has become so long that the rollout should go on in another one. */
function isLong({ timing }: RolloutInput): boolean {
  if (timing.continueAfterEvents === undefined) return false;
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  return continueAsNewSuggested || historyLength >= timing.continueAfterEvents;
}

/**
 * Between two waves, with nothing in flight: goes on in another run of the workflow where the history is long. That run
 * has the id, the memo and the search attributes of this one. What people asked for until then goes along; a request
 * that comes while this run closes is told to it first.
 */
export async function goOnElsewhere(
  input: RolloutInput,
  record: RolloutRecord,
  control: RolloutControl,
  { plan, left, group }: { plan: Plan; left: PlannedWave[]; group: PlannedWave['group'] },
): Promise<void> {
  if (left.length === 0 || !isLong(input)) return;
  await condition(allHandlersFinished);
  if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('rollout cancelled');
  const { paused: _paused, pausedBy: _pausedBy, ...again } = input;
  const goOn = makeContinueAsNewFunc<typeof rollout>({ workflowTaskTimeout: input.timing.workflowTaskMs });
  // Who was planned has to be known where nodes that joined later are looked for.
  const known = input.spec.newNodes === 'Upgrade' ? knownOf(plan, left) : { controlPlane: [], workers: [] };
  await goOn({
    ...again,
    control: control.handOver(),
    carried: carry(record, { plan: { ...plan, ...known }, left, group }),
  });
}

/** The nodes of a plan that no wave has which is left. */
function knownOf({ controlPlane, workers, waves = [] }: Plan, left: readonly PlannedWave[]) {
  const listed = new Set([...controlPlane, ...workers].map(({ uid }) => uid));
  const over = waves.filter((wave) => !left.includes(wave));
  const of = (group: PlannedWave['group']) =>
    over.flatMap((wave) => (wave.group === group ? wave.nodes.filter(({ uid }) => !listed.has(uid)) : []));
  return { controlPlane: [...controlPlane, ...of('control-plane')], workers: [...workers, ...of('worker')] };
}

function carry(
  { state, total, failed, counted, gone, superseded, targets }: RolloutRecord,
  { plan, left, group }: { plan: Plan; left: PlannedWave[]; group: PlannedWave['group'] },
): CarriedRollout {
  const { wave, verdicts } = state;
  // It was said with the first wave.
  const { warning: _warning, ...rest } = plan;
  return {
    plan: { ...rest, waves: left },
    group,
    total,
    verdicts,
    failed,
    counted,
    gone,
    ...(superseded.length === 0 ? {} : { superseded }),
    targets,
    ...(wave === undefined ? {} : { wave }),
  };
}

/** Takes up in a new run what the one before it handed over. */
export function takeUp(record: RolloutRecord, carried: CarriedRollout): void {
  const { total, verdicts, failed, counted, gone, superseded = [], targets, wave } = carried;
  record.plan = carried.plan.report;
  record.total = total;
  record.counted = counted;
  record.failed.push(...failed);
  record.gone.push(...gone);
  record.superseded.push(...superseded);
  record.targets = targets;
  Object.assign(record.state, { phase: 'Running', verdicts });
  if (wave !== undefined) record.state.wave = wave;
}
