import type { Handle } from './world.ts';
import type { NodeResult, RolloutResult, WaveResult } from '../../../api/messages.ts';
import { Script, stubActivities, type Answers, type Call } from '../stubs.ts';
import type { Latency } from './engine.ts';
import { nodeInput, rolloutInput, waveInput, type Wanted, type WantedNodes } from './inputs.ts';
import { workflowBundle } from './sandbox.ts';
import { World } from './world.ts';

export interface DriverOptions {
  /** What the steps answer; what is not named goes smoothly, at once. */
  answers?: Answers;
  /** Comes between a call of a step and its answer. `Context.current().sleep('2h')` there lets the step take time. */
  before?: (call: Call) => void | Promise<void>;
  /** How long each delivery takes, in milliseconds. */
  latency?: (kind: Latency) => number;
}

/**
 * The real workflows in the SDK's own sandbox, without a server: waits of days and every order of messages, in
 * milliseconds.
 *
 *     const world = await startDriver({ answers: { planRollout: () => ({ ...plan, workers: nodes(3) }) } });
 *     const rollout = world.rollout();
 *     await world.until('a node drains', () => world.script.nodes('drainNode').length === 1);
 *     world.signal(rollout, 'pause', { reason: 'lunch' });
 *     await world.advance('3 days');
 *     world.signal(rollout, 'resume', {});
 *     expect(await rollout.result()).toMatchObject({ phase: 'Completed' });
 *
 * Time stands still but for `advance`, `until`, `step`, `result` and `update`. After each test every workflow is run
 * again from what it was told, and must give the same commands. example.test.ts is a page of it.
 */
export async function startDriver(options: DriverOptions = {}): Promise<UpgradeWorld> {
  return new UpgradeWorld(await workflowBundle(), options);
}

export class UpgradeWorld extends World {
  /** What was called, in order, and with what. */
  readonly script: Script;

  constructor(code: string, { answers, before, latency }: DriverOptions) {
    const script = new Script(answers, before);
    const activities = stubActivities({ get: () => script });
    super(code, { activities, ...(latency === undefined ? {} : { latency }) });
    this.script = script;
  }

  rollout(wanted: Wanted = {}): Handle<RolloutResult> {
    const { id, input } = rolloutInput(wanted);
    return this.start('rollout', id, input);
  }

  wave(wanted: WantedNodes = {}): Handle<WaveResult> {
    const { id, input } = waveInput(wanted);
    return this.start('wave', id, input);
  }

  node(wanted: WantedNodes = {}): Handle<NodeResult> {
    const { id, input } = nodeInput(wanted);
    return this.start('nodeUpgrade', id, input);
  }
}
