import { Context } from '@temporalio/activity';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import type { ControlState } from '../../api/control-messages.ts';
import type { Plan, PlannedWave } from '../../api/plan-messages.ts';
import type { RolloutSpec } from '../../api/rollout-spec.ts';
import type { Verdict } from '../../api/types.ts';
import type { Call } from './stubs.ts';
import { startDriver, type DriverOptions, type UpgradeWorld } from './driver/driver.ts';
import { nodes, rolloutInput } from './driver/inputs.ts';
import type { Handle } from './driver/world.ts';

export const ALL = nodes(4);
export const [ONE = { name: '', uid: '' }, TWO = ONE, THREE = ONE, FOUR = ONE] = ALL;
export const wave = (name: string, members: PlannedWave['nodes'], more: Partial<PlannedWave> = {}): PlannedWave => ({
  name,
  group: 'worker',
  nodes: members,
  budget: 1,
  ...more,
});
export const planOf = (waves: PlannedWave[]): Plan => ({
  controlPlane: [],
  workers: waves.flatMap((one) => one.nodes),
  leftAlone: [],
  maxUnavailable: 1,
  waves,
});
export const CANARY = planOf([wave('canary', [ONE]), wave('rest', [TWO, THREE], { approval: true })]);
export const TOGETHER = planOf([wave('workers', [ONE, TWO, THREE])]);

interface Options extends Omit<DriverOptions, 'before'> {
  plan?: Plan;
  /** How long a step of a node takes. */
  slow?: Partial<Record<Call['activity'], [node: string, time: '3s' | '1m' | '1h']>>;
  /** How nodes end in their first try, if not well. */
  ends?: Record<string, Verdict>;
  spec?: Partial<RolloutSpec>;
  control?: ControlState;
}

/** A rollout that has just been started; a failure does not stop it, unless the spec says so. */
export async function begin({ plan = TOGETHER, slow = {}, ends = {}, spec, control, answers, ...options }: Options) {
  const world = await startDriver({
    ...options,
    before: async ({ activity, node }) => {
      const [name, time] = slow[activity] ?? [];
      if (time !== undefined && name === node) await Context.current().sleep(time);
    },
    answers: {
      planRollout: () => plan,
      verifyNode: ({ node, request }) => {
        const verdict = request.try === undefined ? (ends[node.name] ?? 'Succeeded') : 'Succeeded';
        return { verdict, message: `it looks ${verdict}`, bootID: 'boot-2' };
      },
      ...answers,
    },
  });
  const { id, input } = rolloutInput({ spec: { stopOnFailure: false, ...spec } });
  const rollout: Handle = world.start('rollout', id, { ...input, ...(control && { control }) });
  return { world, rollout };
}

export const calledFor = (world: UpgradeWorld, activity: Call['activity'], node: { name: string }) => () =>
  world.script.nodes(activity).includes(node.name);
/** Whether a workflow has had a child started. */
export const startsChild = (history: readonly string[]) => history.includes('START_CHILD_WORKFLOW_EXECUTION_INITIATED');
export const lastStatus = (world: UpgradeWorld) => world.script.inputs('reportRollout').at(-1)?.status;

/** What a person is told who is refused. */
export async function refused(asking: Promise<unknown>): Promise<string> {
  const error = await asking.then(
    (answer) => new Error(`accepted: ${String(answer)}`),
    (reason: unknown) => reason as Error,
  );
  if (!(error instanceof WorkflowUpdateFailedError)) throw error;
  return error.cause?.message ?? '';
}
