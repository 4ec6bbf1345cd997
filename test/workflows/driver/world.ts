import { afterEach } from '@jest/globals';
import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { RetryState, type Duration } from '@temporalio/common';
import { msToNumber } from '@temporalio/common/lib/time.js';
import { Engine, type EngineOptions } from './engine.ts';
import { decode, decodeError, encode } from './protocol.ts';
import { replay, shape } from './replay.ts';
import type { Run, Status } from './run.ts';
import { SandboxFactory } from './sandbox.ts';

/** Worlds that their tests have not closed. */
const unclosed = new Set<World>();

// Registered by importing this file: no test can forget it.
afterEach(async () => {
  for (const world of unclosed) await world.close();
});

/** Up to this many runs of one shape are run again at the end: a wave of 1,000 nodes is 1,000 times the same. */
const REPLAYS_OF_A_SHAPE = 20;

/** A workflow of a world, by its id: whichever run has it. */
export interface Handle<Result = unknown> {
  readonly id: string;
  readonly status: Status;
  /** The types of the events that a server would have written for the present run. */
  readonly history: readonly string[];
  /** How often the present run was activated. */
  readonly activations: number;
  /**
   * Lets time pass until the workflow is closed. Throws a WorkflowFailedError, as a client does, when it ends otherwise
   * than with a result; throws what everything waits for when nothing is due any more.
   */
  result(): Promise<Result>;
}

/** Workflows on a virtual clock. Nothing happens but while one of the methods that return a promise is awaited. */
export class World {
  readonly engine: Engine;
  readonly #code: string;
  readonly #activities: ReadonlySet<string>;

  constructor(code: string, options: Omit<EngineOptions, 'factory'>) {
    this.#code = code;
    this.#activities = new Set(Object.keys(options.activities));
    this.engine = new Engine({ ...options, factory: sandboxes('first', code, this.#activities) });
    unclosed.add(this);
  }

  /** The virtual time, in milliseconds of the epoch. */
  get now(): number {
    return this.engine.clock.now;
  }

  start<Result = unknown>(type: string, id: string, ...args: unknown[]): Handle<Result> {
    this.engine.start(type, id, args.map(encode));
    return this.workflow<Result>(id);
  }

  workflow<Result = unknown>(id: string): Handle<Result> {
    const run = () => this.engine.run(id);
    return {
      id,
      get status() {
        return run().status;
      },
      get history() {
        return run().history;
      },
      get activations() {
        return run().recorded.length;
      },
      result: () => this.#result(id) as Promise<Result>,
    };
  }

  signal(to: Handle, name: string, ...args: unknown[]): void {
    if (!this.engine.signal(this.engine.run(to.id), name, args.map(encode)))
      throw new Error(`workflow ${to.id} takes no signal: it is ${to.status}`);
  }

  cancel(of: Handle): void {
    if (!this.engine.cancel(this.engine.run(of.id)))
      throw new Error(`workflow ${of.id} cannot be cancelled: it is ${of.status}`);
  }

  terminate(of: Handle): void {
    this.engine.terminate(this.engine.run(of.id));
  }

  /** Asks a workflow as it stands; nothing else happens meanwhile. */
  async query<Answer = unknown>(of: Handle, name: string, ...args: unknown[]): Promise<Answer> {
    const answer = (await this.engine.run(of.id).query(name, args.map(encode)))?.respondToQuery;
    if (answer?.failed != null) throw decodeError(answer.failed);
    return decode(answer?.succeeded?.response) as Answer;
  }

  /** Lets time pass until the update is answered. Throws a WorkflowUpdateFailedError when it is refused or fails. */
  async update<Answer = unknown>(of: Handle, name: string, ...args: unknown[]): Promise<Answer> {
    const run = this.engine.run(of.id);
    const state = this.engine.update(run, name, args.map(encode));
    const answered = () => state.rejected !== undefined || state.completed !== undefined || !run.open;
    await this.until(`update ${name} of ${of.id} is answered`, answered);
    if (state.rejected !== undefined) throw new WorkflowUpdateFailedError('Update failed', decodeError(state.rejected));
    if (state.completed === undefined) throw new Error(`workflow ${of.id} closed before it answered update ${name}`);
    return decode(state.completed) as Answer;
  }

  /** Lets time pass, and everything happen that is due in it. */
  async advance(duration: Duration): Promise<void> {
    const end = this.engine.clock.now + msToNumber(duration);
    while (await this.engine.step(end));
    this.engine.clock.now = end;
  }

  /** Lets everything happen that is due now, without time passing. */
  settle(): Promise<void> {
    return this.advance(0);
  }

  /** Lets the next thing happen, whenever it is due; false when there is none. */
  step(): Promise<boolean> {
    return this.engine.step(Infinity);
  }

  /** Lets one thing after the other happen until something holds; throws when nothing is due any more. */
  async until(what: string, holds: () => boolean): Promise<void> {
    while (!holds()) if (!(await this.step())) throw new Error(`${what}: nothing is due any more. ${this.waits()}`);
  }

  /**
   * Ends the world, and runs its workflows again in other sandboxes: throws when one does not give the same commands.
   * Called after each test for worlds that are still open; property tests call it for each of theirs.
   */
  async close(): Promise<void> {
    if (!unclosed.has(this)) return;
    await this.abandon();
    const { runs } = this.engine;
    const seen = new Map<string, number>();
    for (const run of runs) {
      const key = `${run.identity.type} ${shape(run)}`;
      const times = (seen.get(key) ?? 0) + 1;
      seen.set(key, times);
      if (times <= REPLAYS_OF_A_SHAPE) await replay(run, sandboxes('again', this.#code, this.#activities));
    }
  }

  /** Ends the world without that: for one that has already shown what is wrong. */
  async abandon(): Promise<void> {
    unclosed.delete(this);
    for (const run of this.engine.runs) {
      for (const activity of run.activities.values()) activity.abandon();
      await run.dispose();
    }
  }

  async #result(id: string): Promise<unknown> {
    await this.until(`workflow ${id} ends`, () => !this.engine.run(id).open);
    const run = this.engine.run(id);
    if (run.status === 'Completed') return decode(run.result);
    const cause = run.failure === undefined ? undefined : decodeError(run.failure);
    throw new WorkflowFailedError(`Workflow execution ${run.status}`, cause, RetryState.NON_RETRYABLE_FAILURE);
  }

  /** What every open workflow waits for. */
  waits(): string {
    return this.engine.openRuns().map(waitsFor).join('; ');
  }
}

function waitsFor(run: Run): string {
  const activities = [...run.activities.values()].map((activity) => activity.request.type);
  const children = [...run.children.values()].map((child) => child.id);
  const things = [...activities, ...children, ...[...run.timers.keys()].map((seq) => `timer ${seq}`)];
  return `${run.id} waits for ${things.length === 0 ? 'a message' : things.join(', ')}`;
}

/** The sandboxes of the first runs share nothing with those of the replays. Made once for a file of tests. */
const factories = new Map<string, SandboxFactory>();

function sandboxes(purpose: 'first' | 'again', code: string, activities: ReadonlySet<string>): SandboxFactory {
  const key = `${purpose} ${code.length} ${[...activities].join()}`;
  const factory = factories.get(key) ?? new SandboxFactory(code, activities);
  factories.set(key, factory);
  return factory;
}
