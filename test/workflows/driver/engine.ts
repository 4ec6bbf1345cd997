import { optionalTsToMs } from '@temporalio/common/lib/time.js';
import { ActivityTask, activityRequest, endOfActivity, type Attempt } from './activity.ts';
import { Children } from './children.ts';
import { VirtualClock } from './clock.ts';
import {
  MESSAGES,
  canceled,
  closes,
  notFound,
  terminated,
  type Body,
  type Command,
  type Failure,
  type Job,
  type Payload,
} from './protocol.ts';
import { CLOSE_EVENTS, Run, isLocal, type Child, type Status } from './run.ts';
import type { SandboxFactory } from './sandbox.ts';
import { Updates, type UpdateState } from './updates.ts';

/** What may take time. Every kind takes none unless a test says otherwise. */
export type Latency =
  | 'task' // until a workflow is told what is new; what comes meanwhile is told together with it
  | 'activity' // until a worker takes an attempt
  | 'answer' // until the server has an attempt's answer
  | 'child' // until a child is started, and until its parent hears of it
  | 'signal' // from one workflow to another
  | 'cancel'; // to a child, and to an activity's heartbeat

export interface EngineOptions {
  factory: SandboxFactory;
  activities: Record<string, (input: never) => Promise<unknown>>;
  latency?: (kind: Latency) => number;
  began?: (attempt: Attempt) => void;
}

export interface StartOptions {
  parent?: { run: Run; child: Child };
  continued?: Run;
}

/** How long a local activity may hold a workflow task open: four fifths of the task's timeout of 10 s. */
const HELD_MS = 8_000;

let engines = 0;

/**
 * What a Temporal server and its worker do between activations, for as many workflows as are started, on a virtual
 * clock and in one thread: the same input gives the same run. It does not know namespaces, schedules, workflow
 * timeouts, retries of workflows, or Nexus, and says so where a workflow asks for them.
 */
export class Engine {
  readonly clock = new VirtualClock();
  /** Every run that there was, in the order of their starts. */
  readonly runs: Run[] = [];
  readonly attempts: Attempt[] = [];
  readonly #open = new Map<string, Run>();
  readonly #latest = new Map<string, Run>();
  readonly #updates = new Updates();
  readonly #options: EngineOptions;
  /** When the last message from one run to another arrives: none overtakes the one before it. */
  readonly #channels = new Map<string, number>();
  readonly #children = new Children(this);
  readonly #number = ++engines;

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** The run that has an id now, or had it last. */
  run(id: string): Run {
    const run = this.#latest.get(id);
    if (run === undefined)
      throw new Error(`there is no workflow ${id}; there are: ${[...this.#latest.keys()].join(', ')}`);
    return run;
  }

  isOpen(id: string): boolean {
    return this.#open.has(id);
  }

  openRuns(): Run[] {
    return [...this.#open.values()];
  }

  start(type: string, id: string, args: Payload[], { parent, continued }: StartOptions = {}): Run {
    if (this.#open.has(id)) throw new Error(`workflow ${id} is open already`);
    const runID = `run-${this.#number}-${this.runs.length + 1}`;
    const root =
      parent?.run.identity.root ?? (parent && { workflowId: parent.run.id, runId: parent.run.identity.runID });
    const run = new Run(
      {
        id,
        runID,
        type,
        firstRunID: continued?.identity.firstRunID ?? runID,
        ...(continued === undefined ? {} : { continuedFrom: continued.identity.runID }),
        ...(parent === undefined
          ? {}
          : { parent: { workflowId: parent.run.id, runId: parent.run.identity.runID }, ...(root && { root }) }),
      },
      this.clock.now,
      parent,
    );
    if (parent !== undefined) parent.child.run = run;
    this.runs.push(run);
    this.#open.set(id, run);
    this.#latest.set(id, run);
    this.tell(run, { initializeWorkflow: { workflowType: type, workflowId: id, arguments: args, attempt: 1 } });
    return run;
  }

  /** False when the workflow is not open. */
  signal(run: Run, signalName: string, input: Payload[]): boolean {
    if (!run.open) return false;
    run.history.push('WORKFLOW_EXECUTION_SIGNALED');
    this.tell(run, { signalWorkflow: { signalName, input } });
    return true;
  }

  /** False when the workflow is not open. A second cancel changes nothing. */
  cancel(run: Run): boolean {
    if (!run.open) return false;
    if (run.cancelRequested) return true;
    run.cancelRequested = true;
    run.history.push('WORKFLOW_EXECUTION_CANCEL_REQUESTED');
    this.tell(run, { cancelWorkflow: { reason: 'requested' } });
    return true;
  }

  /** Ends a workflow at once; its own code hears nothing of it. */
  terminate(run: Run): void {
    if (!run.open) throw new Error(`workflow ${run.id} cannot be terminated: it is ${run.status}`);
    run.history.push('WORKFLOW_EXECUTION_TERMINATED');
    this.#close(run, 'Terminated', { failure: terminated() });
  }

  update(run: Run, name: string, input: Payload[]): UpdateState {
    if (!run.open) throw new Error(`workflow ${run.id} takes no update: it is ${run.status}`);
    const { id, state } = this.#updates.ask();
    this.tell(run, { doUpdate: { id, protocolInstanceId: id, name, input, runValidator: true } });
    return state;
  }

  /** Lets the next thing happen that is due up to `limit`; false when there is none. */
  async step(limit: number): Promise<boolean> {
    let due = this.clock.next();
    if (due === undefined || due > this.clock.now) {
      // Activities answer by promises: they come before time goes on.
      await new Promise((resolve) => setImmediate(resolve));
      due = this.clock.next();
    }
    const next = this.clock.take(limit);
    if (next === undefined) return false;
    await next.run();
    return true;
  }

  #latency(kind: Latency): number {
    return this.#options.latency?.(kind) ?? 0;
  }

  /** Puts news into a workflow's inbox; it is activated when its next task is due. */
  tell(run: Run, job: Job): void {
    if (!run.open) return;
    run.inbox.push(job);
    if (isLocal(job)) run.taskDue?.cancel();
    else if (run.taskDue !== undefined) return;
    this.#taskIn(run, this.#latency('task'));
  }

  #taskIn(run: Run, delayMs: number): void {
    run.taskDue = this.clock.in(delayMs, () => this.#task(run));
  }

  async #task(run: Run): Promise<void> {
    run.taskDue = undefined;
    if (!run.open || run.inbox.length === 0) return;
    const { now } = this.clock;
    const local = run.inbox.filter(isLocal);
    if (run.held && local.length === 0 && now < run.heldUntil) return this.#taskIn(run, run.heldUntil - now);

    // The results of local activities belong to the task that is open; what else came is told with the next one.
    const later = local.length === 0 ? [] : run.inbox.filter((job) => !isLocal(job));
    if (local.length > 0) run.inbox = local;
    else run.heldUntil = now + HELD_MS;
    let commands = await run.activate(this.#options.factory, now);
    if (later.length > 0 && commands.some(closes)) {
      // The server refuses the end of a workflow that has not heard everything, and asks again with the rest.
      await run.rewind(this.#options.factory);
      run.inbox.push(...later.splice(0));
      commands = await run.activate(this.#options.factory, now);
    }
    for (const command of commands) this.#obey(run, command);
    for (const job of later) this.tell(run, job);
    if (!run.open) await run.dispose();
  }

  #obey(run: Run, command: Command): void {
    const known =
      this.#obeyActivity(run, command) ||
      this.#obeyTimer(run, command) ||
      this.#children.obey(run, command) ||
      this.#obeyMessage(run, command) ||
      this.#obeyEnd(run, command);
    if (!known) throw new Error(`workflow ${run.id}: the driver does not know ${JSON.stringify(command)}`);
  }

  #obeyActivity(run: Run, command: Command): boolean {
    const { scheduleActivity, scheduleLocalActivity, requestCancelActivity, requestCancelLocalActivity } = command;
    const scheduled = scheduleActivity ?? scheduleLocalActivity;
    if (scheduled != null) this.#schedule(run, scheduled, scheduleActivity == null);
    const cancelled = requestCancelActivity ?? requestCancelLocalActivity;
    if (cancelled != null) {
      if (requestCancelActivity != null) run.history.push('ACTIVITY_TASK_CANCEL_REQUESTED');
      run.activities.get(cancelled.seq ?? 0)?.requestCancel();
    }
    return scheduled != null || cancelled != null;
  }

  #schedule(run: Run, body: Body<'scheduleActivity'> & Body<'scheduleLocalActivity'>, local: boolean): void {
    const seq = body.seq ?? 0;
    if (!local) run.history.push('ACTIVITY_TASK_SCHEDULED');
    const request = activityRequest(body, local, { id: run.id, runID: run.identity.runID }, this.clock.now);
    const host = {
      clock: this.clock,
      latency: (kind: Latency) => this.#latency(kind),
      run: async (type: string, [input]: unknown[]) => {
        const activity = this.#options.activities[type];
        if (activity === undefined) throw new Error(`there is no activity ${type}`);
        return activity(input as never);
      },
      began: (attempt: Attempt) => {
        this.attempts.push(attempt);
        this.#options.began?.(attempt);
      },
    };
    const task = new ActivityTask(host, request, (result, started) => {
      run.activities.delete(seq);
      if (local) run.history.push('MARKER_RECORDED');
      else run.history.push(...endOfActivity(result, started));
      this.tell(run, { resolveActivity: { seq, isLocal: local, result } });
    });
    run.activities.set(seq, task);
  }

  #obeyTimer(run: Run, { startTimer, cancelTimer }: Command): boolean {
    if (startTimer != null) {
      const seq = startTimer.seq ?? 0;
      run.history.push('TIMER_STARTED');
      const due = this.clock.in(optionalTsToMs(startTimer.startToFireTimeout) ?? 0, () => {
        run.timers.delete(seq);
        run.history.push('TIMER_FIRED');
        this.tell(run, { fireTimer: { seq } });
      });
      run.timers.set(seq, due);
    }
    if (cancelTimer != null) {
      const due = run.timers.get(cancelTimer.seq ?? 0);
      due?.cancel();
      if (run.timers.delete(cancelTimer.seq ?? 0)) run.history.push('TIMER_CANCELED');
      // Fired meanwhile: the workflow must not hear of a timer that it has given up.
      run.inbox = run.inbox.filter((job) => job.fireTimer?.seq !== cancelTimer.seq);
    }
    return startTimer != null || cancelTimer != null;
  }

  #obeyMessage(run: Run, command: Command): boolean {
    const { signalExternalWorkflowExecution: signal, requestCancelExternalWorkflowExecution: cancel } = command;
    if (signal != null) {
      const id = signal.childWorkflowId || signal.workflowExecution?.workflowId || '';
      run.history.push('SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED');
      this.send(run, id, 'signal', () => {
        const to = this.#open.get(id);
        const sent = to !== undefined && this.signal(to, signal.signalName ?? '', [...(signal.args ?? [])]);
        if (run.open) run.history.push(sent ? 'EXTERNAL_WORKFLOW_EXECUTION_SIGNALED' : 'SIGNAL_EXTERNAL_FAILED');
        const failure = sent ? {} : { failure: notFound('signal') };
        this.tell(run, { resolveSignalExternalWorkflow: { seq: signal.seq ?? 0, ...failure } });
      });
    }
    if (cancel != null) {
      const id = cancel.workflowExecution?.workflowId ?? '';
      run.history.push('REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED');
      this.send(run, id, 'cancel', () => {
        const to = this.#open.get(id);
        const failure = to !== undefined && this.cancel(to) ? {} : { failure: notFound('cancel') };
        this.tell(run, { resolveRequestCancelExternalWorkflow: { seq: cancel.seq ?? 0, ...failure } });
      });
    }
    if (command.upsertWorkflowSearchAttributes != null) run.history.push('UPSERT_WORKFLOW_SEARCH_ATTRIBUTES');
    if (command.modifyWorkflowProperties != null) run.history.push('WORKFLOW_PROPERTIES_MODIFIED');
    // The patch is told by a search attribute, too.
    if (command.setPatchMarker != null) run.history.push('MARKER_RECORDED', 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES');
    if (command.updateResponse != null) this.#updates.answer(run, command.updateResponse);
    // A signal is with its workflow as soon as it is sent: there is nothing left to cancel.
    return MESSAGES.some((name) => command[name] != null);
  }

  #obeyEnd(run: Run, command: Command): boolean {
    const { completeWorkflowExecution: completed, failWorkflowExecution: failed } = command;
    const { cancelWorkflowExecution: cancelled, continueAsNewWorkflowExecution: again } = command;
    if (completed != null) this.#close(run, 'Completed', { result: completed.result });
    if (failed != null) this.#close(run, 'Failed', { failure: failed.failure ?? {} });
    if (cancelled != null) this.#close(run, 'Canceled', { failure: canceled('Workflow execution cancelled') });
    if (again != null) {
      this.#close(run, 'ContinuedAsNew', {});
      const { parent } = run;
      const next = { continued: run, ...(parent === undefined ? {} : { parent }) };
      this.start(again.workflowType || run.identity.type, run.id, [...(again.arguments ?? [])], next);
    }
    if (!run.open && run.status !== 'Terminated') run.history.push(CLOSE_EVENTS[run.status]);
    return completed != null || failed != null || cancelled != null || again != null;
  }

  #close(
    run: Run,
    status: Status,
    { result, failure }: { result?: Payload | null | undefined; failure?: Failure },
  ): void {
    run.status = status;
    run.result = result;
    run.failure = failure;
    this.#open.delete(run.id);
    run.taskDue?.cancel();
    for (const timer of run.timers.values()) timer.cancel();
    for (const activity of run.activities.values()) activity.abandon();
    run.activities.clear();
    this.#children.parentClosed(run);
    if (status === 'Terminated') void run.dispose();
    if (run.parent !== undefined && status !== 'ContinuedAsNew') this.#children.report(run, run.parent);
  }

  /** Lets something arrive at another workflow, after everything that was sent there before. */
  send(from: Run | string, to: string, kind: Latency, arrive: () => void): void {
    const channel = `${typeof from === 'string' ? from : from.id} ${to}`;
    const at = Math.max(this.clock.now + this.#latency(kind), this.#channels.get(channel) ?? 0);
    this.#channels.set(channel, at);
    this.clock.in(at - this.clock.now, arrive);
  }
}
