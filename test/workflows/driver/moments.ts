import type { Plan } from '../../../api/plan-messages.ts';
import { ClusterModel } from './cluster-model.ts';
import { startDriver, type UpgradeWorld } from './driver.ts';
import { nodes } from './inputs.ts';
import type { Handle } from './world.ts';

export interface Stage {
  world: UpgradeWorld;
  model: ClusterModel;
}

/** A cluster on which every step takes three seconds, and every delivery a tenth of one: nothing coincides. */
export async function stage(plan: Partial<Plan> = {}, faults: number[] = []): Promise<Stage> {
  const whole = { controlPlane: [], workers: nodes(1), leftAlone: [], maxUnavailable: 1, ...plan };
  const model = new ClusterModel(whole, faults, [3_000]);
  return { model, world: await startDriver({ answers: model.answers, before: model.before, latency: () => 100 }) };
}

/** Lets so many things happen. */
export async function happens(world: UpgradeWorld, things: number): Promise<void> {
  for (let thing = 0; thing < things; thing += 1) await world.step();
}

/**
 * Plays the same story again and again, and interferes one moment later each time, until the story ends before.
 * Answers how often it did.
 */
export async function atEveryMoment<Result>(
  begin: (world: UpgradeWorld) => Handle<Result>,
  interfere: (stage: Stage & { workflow: Handle<Result>; moment: number }) => Promise<void>,
  set: () => Promise<Stage> = () => stage(),
): Promise<number> {
  for (let moment = 0; ; moment += 1) {
    const { world, model } = await set();
    const workflow = begin(world);
    await happens(world, moment);
    if (workflow.status !== 'Running') return moment;
    try {
      await interfere({ world, model, workflow, moment });
    } catch (error) {
      await world.abandon();
      throw new Error(`at moment ${moment}, after ${world.script.calls.at(-1)?.activity ?? 'its start'}`, {
        cause: error,
      });
    }
    await world.close();
  }
}

/** How a workflow ended: its result, or the reason why it has none. */
export const outcomeOf = (workflow: Handle): Promise<unknown> =>
  workflow.result().catch((error: Error) => error.cause ?? error);
