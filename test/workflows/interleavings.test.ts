import { describe, it } from '@jest/globals';
import * as fc from 'fast-check';
import { WorkflowFailedError } from '@temporalio/client';
import type { NodeRef, WaveInput, WaveResult } from '../../api/messages.ts';
import type { Plan } from '../../api/plan-messages.ts';
import type { HealthGateSpec, RolloutSpec } from '../../api/rollout-spec.ts';
import { rolloutStatus } from '../../api/schemas/node-op-upgrade.ts';
import type { RolloutStatus } from '../../api/types.ts';
import { ClusterModel } from './driver/cluster-model.ts';
import { startDriver, type UpgradeWorld } from './driver/driver.ts';
import { encode } from './driver/protocol.ts';
import { inputOf, type Run } from './driver/run.ts';
import type { UpdateState } from './driver/updates.ts';
import { nodeInput, nodes } from './driver/inputs.ts';
import type { Handle } from './driver/world.ts';

// RUNS=5000 SEED=7 looks further. Without them every run of the tests looks at the same cases.
const RUNS = Number(process.env['RUNS'] ?? 100);
const SEED = Number(process.env['SEED'] ?? 1);

/** Somebody does something, after so many things have happened since the last time. */
const intervention = fc.record({
  after: fc.nat(70),
  does: fc.constantFrom(
    'pause',
    'resume',
    'cancel',
    'terminate node',
    'cancel node',
    'terminate wave',
    'cancel wave',
    'skip',
    'skip',
    'retry',
    'retry all',
    'approve',
    'abort',
  ),
  /** Whether it is asked by an update, which must be answered. */
  answered: fc.boolean(),
  node: fc.nat(8),
});
const fault = fc.oneof(
  { weight: 5, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) },
);

const scenario = fc.record({
  controlPlane: fc.nat(2),
  workers: fc.nat(5),
  budget: fc.integer({ min: 1, max: 3 }),
  /** Whether the workers wait until somebody approves them. */
  approval: fc.boolean(),
  /** How many of the workers are a wave of their own, before the others. */
  canary: fc.nat(2),
  /** After so many nodes a wave goes on in another workflow. */
  segment: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  /** After so many events the rollout goes on in another run. */
  continueAfterEvents: fc.option(fc.integer({ min: 10, max: 60 }), { nil: undefined }),
  /** Whether each wave soaks. */
  soaks: fc.boolean(),
  maxFailed: fc.option(fc.nat(2), { nil: undefined }),
  /** Nodes that carry the operator. */
  hosts: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 2 }),
  /** Workers that join meanwhile, and are wanted. */
  joined: fc.nat(2),
  healthGates: fc.boolean(),
  spec: fc.record({
    prePullAhead: fc.integer({ min: 1, max: 3 }),
    stopOnFailure: fc.boolean(),
    upgradeRecovery: fc.boolean(),
  }),
  kind: fc.constantFrom('NodeOpUpgrade' as const, 'KairosNode' as const),
  // Used again and again. Two of them are shorter than a call's deadline: nothing times out for ever.
  delaysMs: fc.array(fc.constantFrom(0, 0, 1, 7, 40, 900, 4_000), { minLength: 1, maxLength: 23 }),
  faults: fc.array(fault, { maxLength: 60 }),
  interventions: fc.array(intervention, { maxLength: 5 }),
});
type Intervention = typeof intervention extends fc.Arbitrary<infer I> ? I : never;
type Scenario = typeof scenario extends fc.Arbitrary<infer S> ? S : never;

/** A gate that is asked after each wave. What it asks is answered by the model. */
const HEALTH: HealthGateSpec = {
  name: 'errors',
  prometheus: { url: 'http://prometheus', query: 'up' },
  intervalMs: 1_000,
};

/** More steps than this, and a rollout of nine nodes turns in circles. */
const ENDLESS = 20_000;

class Play {
  readonly drawn: Scenario;
  readonly plan: Plan;
  readonly model: ClusterModel;
  readonly spec: Partial<RolloutSpec>;
  readonly #joined: NodeRef[];
  /** What was asked by an update, with what was answered by then. */
  readonly #asked: { what: string; run: Run; state: UpdateState }[] = [];

  constructor(drawn: Scenario) {
    this.drawn = drawn;
    const controlPlane = nodes(drawn.controlPlane, 'cp');
    const workers = nodes(drawn.workers);
    const approval = drawn.approval ? ({ approval: true } as const) : {};
    const soak = drawn.soaks ? { soakMs: 60_000 } : {};
    const segment = drawn.segment === undefined ? {} : { segment: drawn.segment };
    const { budget } = drawn;
    this.#joined = nodes(drawn.joined, 'x');
    this.spec = {
      ...drawn.spec,
      ...(drawn.healthGates ? { healthGates: [HEALTH] } : {}),
      ...(drawn.joined > 0 ? { newNodes: 'Upgrade' } : {}),
    };
    this.plan = {
      controlPlane,
      workers,
      leftAlone: [],
      maxUnavailable: drawn.budget,
      waves: [
        { name: 'control-plane', group: 'control-plane', nodes: controlPlane, budget: 1 },
        { name: 'canary', group: 'worker', nodes: workers.slice(0, drawn.canary), budget, ...soak },
        {
          name: 'workers',
          group: 'worker',
          nodes: workers.slice(drawn.canary),
          budget,
          ...approval,
          ...soak,
          ...segment,
        },
      ],
      ...(drawn.maxFailed === undefined ? {} : { maxFailed: drawn.maxFailed }),
    };
    this.model = new ClusterModel(this.plan, drawn.faults, drawn.delaysMs, {
      joined: { controlPlane: [], workers: this.#joined },
      hosts: drawn.hosts.map((number) => `w-${number}`),
    });
  }

  async perform(): Promise<void> {
    const { model, drawn } = this;
    const world = await startDriver({ answers: model.answers, before: model.before, latency: model.delayMs });
    const { continueAfterEvents } = drawn;
    const timing = continueAfterEvents === undefined ? {} : { continueAfterEvents };
    const rollout = world.rollout({ kind: drawn.kind, spec: this.spec, timing });
    for (const { after, does, node, answered } of drawn.interventions) {
      for (let step = 0; step < after && rollout.status === 'Running'; step += 1) if (!(await world.step())) break;
      if (rollout.status === 'Running') this.#act(world, rollout, { does, node, answered });
    }
    // A pause is somebody's to end, and so is a wait for approval.
    if (rollout.status === 'Running') world.signal(rollout, 'resume', {});
    if (rollout.status === 'Running') world.signal(rollout, 'approve', { wave: 'workers' });
    for (let step = 0; rollout.status === 'Running'; step += 1) {
      if (step > ENDLESS) throw new Error(`the rollout goes on and on: ${world.waits()}`);
      if (!(await world.step())) throw new Error(`the rollout is stuck: ${world.waits()}`);
      if (step % 100 === 99) this.#repair(world);
    }
    const outcome = await rollout.result().catch((error: unknown) => error);
    await world.advance('7 days');
    // An attempt that a terminated workflow has left may mark its node after that was given back.
    if (this.#did('terminate node', 'terminate wave')) this.#repair(world);
    await world.advance('1 day');
    const problems = [...model.problems, ...this.#atTheEnd(world, outcome), ...(await this.#counts(world))];
    if (problems.length === 0) return world.close();
    await world.abandon();
    throw new Error(problems.join('\n'));
  }

  get #members(): NodeRef[] {
    return [...this.plan.controlPlane, ...this.plan.workers, ...this.#joined];
  }

  #act(world: UpgradeWorld, rollout: Handle, { does, node: index, answered }: Omit<Intervention, 'after'>): void {
    const ask = (what: string, message: object) => {
      if (!answered) return world.signal(rollout, what, message);
      const run = world.engine.run(rollout.id);
      this.#asked.push({ what, run, state: world.engine.update(run, what, [encode(message)]) });
    };
    if (does === 'pause' || does === 'resume') return world.signal(rollout, does, {});
    if (does === 'cancel') return world.cancel(rollout);
    const { name = 'w-1' } = this.#members[index % Math.max(1, this.#members.length)] ?? {};
    if (does === 'skip' || does === 'retry') return ask(does, { node: name });
    if (does === 'retry all') return ask('retry', {});
    if (does === 'approve') return ask('approve', { wave: 'workers' });
    if (does === 'abort') return ask('abort', { reason: 'enough' });
    const type = does.endsWith('wave') ? 'wave' : 'nodeUpgrade';
    const open = world.engine.openRuns().filter((run) => run.identity.type === type);
    const run = open[index % Math.max(1, open.length)];
    if (run === undefined) return;
    if (does.startsWith('cancel')) world.cancel(world.workflow(run.id));
    else world.terminate(world.workflow(run.id));
  }

  /** As the watcher does with marks whose workflow is gone, and which no wave looks after. */
  #repair(world: UpgradeWorld): void {
    if (world.engine.openRuns().some(({ identity }) => identity.type === 'wave')) return;
    for (const node of this.#members) {
      const { id, input } = nodeInput({ nodes: [node], kind: this.drawn.kind, spec: this.spec });
      if (this.model.out().includes(node.name) && !world.engine.isOpen(id))
        world.start('nodeUpgrade', id, { ...input, recover: true });
    }
  }

  #did = (...what: string[]) => this.drawn.interventions.some(({ does }) => what.includes(does));

  #atTheEnd(world: UpgradeWorld, outcome: unknown): string[] {
    const { model, drawn } = this;
    const open = world.engine.openRuns().map((run) => run.id);
    const reports = world.script.inputs('reportRollout');
    const expected = this.#did('cancel') && outcome instanceof WorkflowFailedError;
    return [
      ...(open.length > 0 ? [`still open: ${open.join(', ')}`] : []),
      ...(model.out().length > 0 ? [`left cordoned or marked: ${model.out().join(', ')}`] : []),
      ...(model.peak > drawn.budget ? [`${model.peak} nodes in hand at once, ${drawn.budget} allowed`] : []),
      ...(outcome instanceof Error && !expected ? [`${outcome.message}: ${String(outcome.cause)}`] : []),
      ...(reports.at(-1)?.final === true ? [] : [`the last report is ${reports.at(-1)?.status.phase}`]),
      ...this.#phases(reports),
      ...reports.flatMap(({ status }) => rolloutStatus.safeParse(status).error?.message ?? []),
      ...this.#asked.flatMap(({ what, state: { accepted, rejected, completed } }) =>
        accepted && rejected === undefined && completed === undefined ? [`${what} was never answered`] : [],
      ),
    ];
  }

  /** A phase never changes once the attempt has ended, and is `Completed` only when every planned node is on the target. */
  #phases(reports: { status: RolloutStatus; final: boolean }[]): string[] {
    const end = reports.findIndex(({ final }) => final);
    const after =
      end < 0 ? [] : reports.slice(end + 1).filter(({ status }) => status.phase !== reports[end]?.status.phase);
    const early = reports.filter(({ status: { phase, verdicts = {}, failed = [], total } }) => {
      const ended = Object.values(verdicts).reduce((sum, count) => sum + count, 0);
      return phase === 'Completed' && (ended !== total || failed.length > 0);
    });
    return [
      ...after.map(({ status }) => `reported ${status.phase} after its end`),
      ...early.map(({ status }) => `Completed with ${JSON.stringify(status.verdicts)} of ${status.total}`),
    ];
  }

  /** Every node is in exactly one count, and the rollout reports what its waves counted. */
  async #counts(world: UpgradeWorld): Promise<string[]> {
    const problems: string[] = [];
    let counted = 0;
    const all = world.engine.runs.filter(({ identity }) => identity.type === 'wave');
    // It cannot say what it did: the rollout has read that from the nodes.
    if (all.some(({ status }) => status === 'Terminated')) return [];
    // What the parts of one did is in its result.
    for (const run of all.filter(({ parent }) => parent?.run.identity.type !== 'wave')) {
      const { name, nodes: members } = inputOf(run) as WaveInput;
      const result = await world.workflow<WaveResult>(run.id).result();
      const again = result.again?.length ?? 0;
      const ended = Object.values(result.verdicts).reduce((sum, count) => sum + count, 0);
      // The nodes of a wave of retries were counted before; those that it begins are counted anew.
      counted += ended + again - (name.startsWith('retry.') ? members.length - result.untouched : 0);
      const where = `wave ${name}: ${JSON.stringify({ ...result, targets: undefined })} of ${members.length}`;
      if (result.untouched < 0 || ended + again + result.untouched !== members.length)
        problems.push(`miscounted ${where}`);
      if (result.stopped === undefined && result.untouched > 0) problems.push(`left some out ${where}`);
      if (result.stopped === 'cancelled' && !this.#did('cancel', 'cancel node', 'cancel wave', 'abort'))
        problems.push(`cancelled by nobody ${where}`);
    }
    const { verdicts = {}, skipped = [] } = world.script.inputs('reportRollout').at(-1)?.status ?? {};
    const sum = Object.values(verdicts).reduce((total, count) => total + count, 0);
    if (skipped.length > (verdicts['Skipped'] ?? 0)) problems.push(`${skipped.length} are said to be left out`);
    return sum === counted ? problems : [...problems, `${counted} nodes ended, ${sum} were reported`];
  }
}

describe('a rollout on which anything goes wrong at any time', () => {
  it(`ends, with every node in one count, nothing left out, no budget exceeded (${RUNS} cases)`, async () => {
    const property = fc.asyncProperty(scenario, (drawn) => new Play(drawn).perform());
    await fc.assert(property, { numRuns: RUNS, seed: SEED });
  }, 600_000);
});
