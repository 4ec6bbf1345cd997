import {
  CHILD_CANCELLATION,
  PARENT_CLOSE,
  RETRY_STATE,
  type RetryState,
  canceled,
  type Body,
  type Command,
  type Failure,
  type Job,
  type Payload,
} from './protocol.ts';
import { CLOSE_EVENTS, type Child, type Run } from './run.ts';

/** What children need of the engine. */
interface Host {
  tell(run: Run, job: Job): void;
  send(from: Run | string, to: string, kind: 'child' | 'cancel', arrive: () => void): void;
  isOpen(id: string): boolean;
  start(type: string, id: string, args: Payload[], options: { parent: { run: Run; child: Child } }): Run;
  cancel(run: Run): boolean;
  terminate(run: Run): void;
}

/** What happens between a workflow and its children: start, cancel, end, and the end of the parent. */
export class Children {
  readonly #engine: Host;

  constructor(engine: Host) {
    this.#engine = engine;
  }

  /** By the policy that each was started with. */
  parentClosed(run: Run): void {
    for (const child of run.children.values()) this.#outlived(run, child);
  }

  /** True when the command was for a child. */
  obey(run: Run, { startChildWorkflowExecution: start, cancelChildWorkflowExecution: cancel }: Command): boolean {
    if (start != null) this.#start(run, start);
    const child = run.children.get(cancel?.childWorkflowSeq ?? 0);
    if (child !== undefined) this.#cancel(run, child);
    return start != null || cancel != null;
  }

  #start(run: Run, start: Body<'startChildWorkflowExecution'>): void {
    if (start.retryPolicy != null || start.cronSchedule)
      throw new Error(`workflow ${run.id}: the driver knows no retries or schedules of children`);
    const child: Child = {
      seq: start.seq ?? 0,
      id: start.workflowId ?? '',
      type: start.workflowType ?? '',
      closePolicy: start.parentClosePolicy || PARENT_CLOSE.terminate,
      cancellation: start.cancellationType ?? 0,
      askedIn: run.recorded.length,
      run: undefined,
      cancelRequested: false,
      resolved: false,
    };
    run.children.set(child.seq, child);
    run.history.push('START_CHILD_WORKFLOW_EXECUTION_INITIATED');
    this.#engine.send(run, child.id, 'child', () => {
      // The server does not start the child of a parent that has closed meanwhile, unless it was to outlive it.
      if (child.resolved || (!run.open && child.closePolicy !== PARENT_CLOSE.abandon)) return;
      if (this.#engine.isOpen(child.id)) {
        run.children.delete(child.seq);
        this.#engine.send(child.id, run.id, 'child', () => {
          run.history.push('START_CHILD_WORKFLOW_EXECUTION_FAILED');
          const failed = { workflowId: child.id, workflowType: child.type, cause: 1 };
          this.#engine.tell(run, { resolveChildWorkflowExecutionStart: { seq: child.seq, failed } });
        });
        return;
      }
      const started = this.#engine.start(child.type, child.id, [...(start.input ?? [])], { parent: { run, child } });
      this.#engine.send(started, run.id, 'child', () => {
        if (child.resolved) return;
        run.history.push('CHILD_WORKFLOW_EXECUTION_STARTED');
        const succeeded = { runId: started.identity.runID };
        this.#engine.tell(run, { resolveChildWorkflowExecutionStart: { seq: child.seq, succeeded } });
      });
    });
  }

  #cancel(run: Run, child: Child): void {
    if (child.cancelRequested) return;
    child.cancelRequested = true;
    const failure = this.#ofChild(child, 'Child Workflow execution cancelled', canceled(), RETRY_STATE.nonRetryable);
    if (child.askedIn === run.recorded.length) {
      // Asked for and given up in one activation: the server never hears of it.
      child.resolved = true;
      run.history.splice(run.history.lastIndexOf('START_CHILD_WORKFLOW_EXECUTION_INITIATED'), 1);
      run.children.delete(child.seq);
      this.#engine.tell(run, { resolveChildWorkflowExecutionStart: { seq: child.seq, cancelled: { failure } } });
      return;
    }
    const resolve = () => {
      if (child.resolved) return;
      child.resolved = true;
      run.children.delete(child.seq);
      this.#engine.tell(run, { resolveChildWorkflowExecution: { seq: child.seq, result: { cancelled: { failure } } } });
    };
    if (child.cancellation === CHILD_CANCELLATION.abandon) return resolve();
    run.history.push('REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED');
    this.#engine.send(run, child.id, 'cancel', () => {
      const reached = child.run !== undefined && this.#engine.cancel(child.run);
      if (run.open) run.history.push(`${reached ? '' : 'REQUEST_CANCEL_'}EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED`);
      if (child.cancellation === CHILD_CANCELLATION.waitRequested) resolve();
    });
    if (child.cancellation === CHILD_CANCELLATION.tryCancel) resolve();
  }

  #outlived(run: Run, child: Child): void {
    const { closePolicy } = child;
    if (child.run === undefined || closePolicy === PARENT_CLOSE.abandon) return;
    this.#engine.send(run, child.id, 'cancel', () => {
      if (child.run === undefined || !child.run.open) return;
      if (closePolicy === PARENT_CLOSE.requestCancel) this.#engine.cancel(child.run);
      else this.#engine.terminate(child.run);
    });
  }

  /** Tells a parent how its child ended. */
  report(run: Run, { run: parent, child }: { run: Run; child: Child }): void {
    this.#engine.send(run, parent.id, 'child', () => {
      if (child.resolved || !parent.open) return;
      child.resolved = true;
      parent.children.delete(child.seq);
      parent.history.push(`CHILD_${CLOSE_EVENTS[run.status]}`);
      const seq = child.seq;
      this.#engine.tell(parent, { resolveChildWorkflowExecution: { seq, result: this.#outcomeOf(run, child) } });
    });
  }

  #outcomeOf(run: Run, child: Child) {
    const { nonRetryable } = RETRY_STATE;
    const { failure = {}, status } = run;
    if (status === 'Completed') return { completed: { result: run.result ?? null } };
    if (status === 'Canceled') {
      const cancelled = this.#ofChild(child, 'Child Workflow execution cancelled', canceled(), nonRetryable);
      return { cancelled: { failure: cancelled } };
    }
    const message = `Child Workflow execution ${status.toLowerCase()}`;
    return { failed: { failure: this.#ofChild(child, message, failure, nonRetryable) } };
  }

  #ofChild(child: Child, message: string, cause: Failure, retryState: RetryState): Failure {
    const workflowExecution = { workflowId: child.id, runId: child.run?.identity.runID ?? '' };
    const info = { namespace: 'default', workflowExecution, workflowType: { name: child.type }, retryState };
    return { message, cause, childWorkflowExecutionFailureInfo: info };
  }
}
