import { CancelledFailure } from '@temporalio/common';
import {
  CancellationScope,
  allHandlersFinished,
  condition,
  makeContinueAsNewFunc,
  workflowInfo,
} from '@temporalio/workflow';
import type { CarriedRollout, KnownNodes, RolloutInput } from '../api/messages.ts';
import type { Plan, PlannedWave } from '../api/plan-messages.ts';
import { MOST_CARRIED_CHARACTERS } from '../policy/waves.ts';
import type { RolloutControl } from './rollout-control.ts';
import type { RolloutRecord } from './rollout-record.ts';
import type { rollout } from './rollout.ts';

/** Whether the history of this run has become so long that the rollout should go on in another one. */
function isLong({ timing }: RolloutInput): boolean {
  if (timing.continueAfterEvents === undefined) return false;
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  return continueAsNewSuggested || historyLength >= timing.continueAfterEvents;
}

/** Where a rollout stands between two waves. */
interface Between {
  plan: Plan;
  left: PlannedWave[];
  /** Of the wave that ended last. */
  group: PlannedWave['group'];
  /** Where nodes that join later are upgraded, too. */
  joined?: KnownNodes | undefined;
}

/**
 * Between two waves, with nothing in flight: goes on in another run of the workflow where the history is long. That run
 * has the id, the memo and the search attributes of this one. What people asked for until then goes along; a request
 * that comes while this run closes is told to it first. Where that is too much for one message, as after the failure of
 * many thousand nodes, the rollout goes on in this run: a server bears fifty times as many events.
 */
export async function goOnElsewhere(
  input: RolloutInput,
  record: RolloutRecord,
  control: RolloutControl,
  between: Between,
): Promise<void> {
  if (between.left.length === 0 || !isLong(input)) return;
  await condition(allHandlersFinished);
  if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('rollout cancelled');
  const { paused: _paused, pausedBy: _pausedBy, ...again } = input;
  const next = { ...again, control: control.handOver(), carried: carry(record, between) };
  if (JSON.stringify(next).length > MOST_CARRIED_CHARACTERS) return;
  const goOn = makeContinueAsNewFunc<typeof rollout>({ workflowTaskTimeout: input.timing.workflowTaskMs });
  await goOn(next);
}

function carry(
  { state, total, failed, counted, gone, superseded, targets }: RolloutRecord,
  { plan, left, group, joined }: Between,
): CarriedRollout {
  const { wave, verdicts } = state;
  // It was said with the first wave.
  const { warning: _warning, ...rest } = plan;
  return {
    plan: { ...rest, waves: left, controlPlane: [], workers: [] },
    group,
    total,
    verdicts,
    failed,
    counted,
    gone,
    ...(superseded.length === 0 ? {} : { superseded }),
    targets,
    ...(wave === undefined ? {} : { wave }),
    ...(joined === undefined ? {} : { joined }),
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
