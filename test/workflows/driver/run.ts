import { msToTs } from '@temporalio/common/lib/time.js';
import type { Workflow } from '@temporalio/worker/lib/workflow/interface.js';
import type { ActivityTask } from './activity.ts';
import type { Due } from './clock.ts';
import {
  decode,
  decodeError,
  type Activation,
  type Command,
  type Failure,
  type Job,
  type Payload,
} from './protocol.ts';
import type { Identity, SandboxFactory } from './sandbox.ts';

export type Status = 'Running' | 'Completed' | 'Failed' | 'Canceled' | 'Terminated' | 'ContinuedAsNew';

/** The event that an end is. */
export const CLOSE_EVENTS = {
  Running: '',
  Completed: 'WORKFLOW_EXECUTION_COMPLETED',
  Failed: 'WORKFLOW_EXECUTION_FAILED',
  Canceled: 'WORKFLOW_EXECUTION_CANCELED',
  Terminated: 'WORKFLOW_EXECUTION_TERMINATED',
  ContinuedAsNew: 'WORKFLOW_EXECUTION_CONTINUED_AS_NEW',
} as const satisfies Record<Status, string>;

/** A child as its parent knows it. */
export interface Child {
  seq: number;
  id: string;
  type: string;
  /** What becomes of it when the parent closes. */
  closePolicy: number;
  cancellation: number;
  /** The activation of the parent that asked for it. */
  askedIn: number;
  run: Run | undefined;
  cancelRequested: boolean;
  resolved: boolean;
}

/** One activation with the commands that it gave, as a replay must give them again. */
export interface Recorded {
  activation: Activation;
  commands: Command[];
}

/** One run of a workflow: its sandbox, what it was told, and what it waits for. */
export class Run {
  readonly identity: Identity;
  readonly parent: { run: Run; child: Child } | undefined;
  readonly startedAt: number;
  status: Status = 'Running';
  result: Payload | null | undefined;
  failure: Failure | undefined;
  /** Told to it with the next activation. */
  inbox: Job[] = [];
  taskDue: Due | undefined;
  /** While a local activity runs the workflow task stays open, and nothing else reaches the workflow before this. */
  heldUntil = 0;
  cancelRequested = false;
  readonly activities = new Map<number, ActivityTask>();
  readonly timers = new Map<number, Due>();
  readonly children = new Map<number, Child>();
  /** The events that a server would have written, by type, without their order inside a workflow task. */
  readonly history: string[] = ['WORKFLOW_EXECUTION_STARTED'];
  readonly recorded: Recorded[] = [];
  readonly flags = new Set<number>();
  #sandbox: Workflow | undefined;

  constructor(identity: Identity, startedAt: number, parent?: { run: Run; child: Child }) {
    this.identity = identity;
    this.startedAt = startedAt;
    this.parent = parent;
  }

  get id(): string {
    return this.identity.id;
  }

  get open(): boolean {
    return this.status === 'Running';
  }

  /** Whether a local activity holds the present workflow task open. */
  get held(): boolean {
    return [...this.activities.values()].some((activity) => activity.request.local);
  }

  /** Tells the workflow what is in its inbox; throws what would make the worker repeat the task for ever. */
  async activate(factory: SandboxFactory, now: number): Promise<Command[]> {
    this.#sandbox ??= await factory.open(this.identity, this.startedAt);
    const jobs = inOrder(this.inbox.splice(0));
    if (!jobs.every(isLocal)) this.history.push(...TASK_EVENTS);
    const activation: Activation = {
      runId: this.identity.runID,
      timestamp: msToTs(now),
      isReplaying: false,
      historyLength: this.history.length,
      jobs,
    };
    const commands = await activate(this.#sandbox, activation, `workflow ${this.id}`, this.flags);
    this.recorded.push({ activation, commands });
    return commands;
  }

  /** Takes back the last activation, and puts what it told into the inbox again. */
  async rewind(factory: SandboxFactory): Promise<void> {
    const undone = this.recorded.pop();
    await this.dispose();
    this.#sandbox = await factory.open(this.identity, this.startedAt);
    for (const { activation } of this.recorded) await activate(this.#sandbox, activation, `workflow ${this.id}`);
    this.inbox.push(...(undone?.activation.jobs ?? []));
  }

  /** Answers a query as the workflow stands. */
  async query(name: string, args: Payload[]): Promise<Command | undefined> {
    if (this.#sandbox === undefined)
      throw new Error(`workflow ${this.id} has not begun or is closed: it answers nothing`);
    const job: Job = { queryWorkflow: { queryId: 'query', queryType: name, arguments: args } };
    // The sandbox takes queries as they come, and so needs the name of the job's kind that decoding would have set.
    Object.assign(job, { variant: 'queryWorkflow' });
    const completion = await this.#sandbox.activate({ runId: this.identity.runID, jobs: [job] });
    return completion.successful?.commands?.[0];
  }

  async dispose(): Promise<void> {
    const sandbox = this.#sandbox;
    this.#sandbox = undefined;
    await sandbox?.dispose();
  }
}

const TASK_EVENTS = ['WORKFLOW_TASK_SCHEDULED', 'WORKFLOW_TASK_STARTED', 'WORKFLOW_TASK_COMPLETED'];

export const isLocal = (job: Job) => job.resolveActivity?.isLocal === true;

/** As the SDK orders them: the start, then messages, then everything else, then local activities. */
function inOrder(jobs: Job[]): Job[] {
  const rank = (job: Job) => {
    if (job.initializeWorkflow != null) return 0;
    if (job.signalWorkflow != null || job.doUpdate != null) return 1;
    return isLocal(job) ? 3 : 2;
  };
  return jobs.sort((a, b) => rank(a) - rank(b));
}

export async function activate(
  sandbox: Workflow,
  activation: Activation,
  name: string,
  flags?: Set<number>,
): Promise<Command[]> {
  const completion = await sandbox.activate(activation);
  await sandbox.getAndResetSinkCalls();
  const failure = completion.failed?.failure;
  if (failure != null)
    throw new Error(`${name}: its workflow task failed, and would be repeated for ever: ${failure.message}`, {
      cause: decodeError(failure),
    });
  for (const flag of completion.successful?.usedInternalFlags ?? []) flags?.add(flag);
  return completion.successful?.commands ?? [];
}

/** Commands as text: equal where a server could not tell them apart. */
export function comparable(commands: Command[]): string {
  return JSON.stringify(commands, (key, value: unknown) => {
    if (key === 'stackTrace') return undefined;
    return ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString() : value;
  });
}

/** What a workflow was started with, once it has been activated. */
export function inputOf(run: Run): unknown {
  const [job] = run.recorded[0]?.activation.jobs ?? [];
  return decode(job?.initializeWorkflow?.arguments?.[0]);
}
