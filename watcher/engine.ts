import {
  ApplicationFailure,
  defineSearchAttributeKey,
  rootCause,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
} from '@temporalio/common';
import {
  Client,
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Connection,
} from '@temporalio/client';
import { SEARCH_ATTRIBUTE_NAMES } from '../api/names.ts';
import {
  NEXT_ATTEMPT,
  WORKFLOW_NAMES,
  taskQueue,
  type ClusterRef,
  type NodeUpgradeInput,
  type PlanAnswer,
  type PlanInput,
  type RolloutInput,
  type RolloutMemo,
} from '../api/messages.ts';
import type { Asked } from '../api/control-messages.ts';
import type { EngineState } from '../policy/engine.ts';

/** What a rollout answered to an update, or why there is no answer: no worker took it in time, or it has closed. */
export type UpdateAnswer = RequestAnswer | 'NotAnswered' | 'Closed';
/** `next`: it is for the next attempt, and why. */
export type RequestAnswer = { accepted: boolean; message: string } | { next: string };

const KEYWORD = 2;
const CALL_DEADLINE_MS = 10_000;

/** What the watcher asks of Temporal. Every call has a deadline; starting is idempotent by workflow id. */
export class Engine {
  #client: Client;
  #connection: Connection;
  readonly #cluster: ClusterRef;
  readonly #explain: (error: unknown) => string | Promise<string>;
  #searchAttributes = false;
  #failure: { message: string; since: string } | undefined;
  #changedAt = new Date().toISOString();
  #onReturn: () => void = () => undefined;

  /** `explain` finds out why Temporal does not answer, and what to do. */
  constructor(
    connection: Connection,
    namespace: string,
    cluster: ClusterRef,
    explain: (error: unknown) => string | Promise<string> = (error) => `Temporal does not answer: ${wordsOf(error)}`,
  ) {
    this.#explain = explain;
    this.#connection = connection;
    this.#client = new Client({ connection, namespace });
    this.#cluster = cluster;
  }

  /** Goes on with another connection. Calls that are under way end on the former one. */
  useConnection(connection: Connection): void {
    this.#client = new Client({ connection, namespace: this.#client.options.namespace });
    this.#connection = connection;
  }

  get searchAttributes(): boolean {
    return this.#searchAttributes;
  }

  /** Whether the last call reached Temporal, since when that is so, and what to do where it did not. */
  health(): { reachable: boolean; message: string; since: string } {
    return this.#failure === undefined
      ? { reachable: true, message: 'Temporal answers', since: this.#changedAt }
      : { reachable: false, ...this.#failure };
  }

  /**
   * Adds our search attributes; adding them again changes nothing. A Temporal that refuses (all ten keywords taken, or
   * a managed one) works without them. Answers whether they are there; throws when Temporal does not answer.
   */
  async addSearchAttributes(): Promise<boolean> {
    const namespace = this.#client.options.namespace;
    const searchAttributes = Object.fromEntries(Object.values(SEARCH_ATTRIBUTE_NAMES).map((name) => [name, KEYWORD]));
    await this.#call(() => this.#connection.workflowService.getSystemInfo({}));
    try {
      await this.#call(() => this.#connection.operatorService.addSearchAttributes({ namespace, searchAttributes }));
      this.#searchAttributes = true;
    } catch {
      this.#searchAttributes = false;
    }
    return this.#searchAttributes;
  }

  async describe(workflowID: string): Promise<EngineState> {
    try {
      const found = await this.#call(() => this.#client.workflow.getHandle(workflowID).describe());
      const memo = found.memo as unknown as RolloutMemo | undefined;
      const startedAtMs = found.startTime.getTime();
      return { state: stateOf(found.status.name), startedAtMs, ...(memo?.uid === undefined ? {} : { memo }) };
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return { state: 'NotFound' };
      throw error;
    }
  }

  /** Starts a rollout. One that is open under its id already is success: two watchers may run. */
  async start(workflowID: string, input: RolloutInput, summary: string, nodes?: Record<string, string>): Promise<void> {
    const { uid, generation, attempt, retry } = input.request;
    const memo: RolloutMemo = {
      uid,
      generation,
      attempt,
      ...(retry === undefined ? {} : { retry }),
      ...(nodes === undefined ? {} : { nodes }),
    };
    await this.#startOnce(() =>
      this.#client.workflow.start(WORKFLOW_NAMES.rollout, {
        workflowId: workflowID,
        taskQueue: taskQueue(this.#cluster),
        args: [input],
        memo: { ...memo },
        staticSummary: summary.slice(0, 190),
        workflowTaskTimeout: input.timing.workflowTaskMs,
        ...this.#attributes(workflowID, input),
      }),
    );
  }

  /** Cancels a rollout, and tells it before why and for whom: a cancel itself carries neither. A plan need not know. */
  async cancel(workflowID: string, why?: Record<string, string>): Promise<void> {
    try {
      const handle = this.#client.workflow.getHandle(workflowID);
      if (why !== undefined) await this.#call(() => handle.signal('whyCancelled', why));
      await this.#call(() => handle.cancel());
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }

  /** Who terminated a workflow, when and why, by its last event. Best effort: undefined where that cannot be told. */
  async terminatedBy(workflowID: string): Promise<Asked | undefined> {
    const namespace = this.#client.options.namespace;
    const last = { namespace, execution: { workflowId: workflowID }, maximumPageSize: 1 };
    try {
      const { history } = await this.#call(() =>
        this.#connection.workflowService.getWorkflowExecutionHistoryReverse(last),
      );
      const [event] = history?.events ?? [];
      const ended = event?.workflowExecutionTerminatedEventAttributes;
      if (ended === undefined || ended === null) return undefined;
      const { identity, reason } = ended;
      return {
        by: 'temporal',
        ...(identity ? { who: identity.slice(0, 200) } : {}),
        ...(reason ? { reason: reason.slice(0, 900) } : {}),
        at: new Date(Number(event?.eventTime?.seconds ?? 0) * 1000).toISOString(),
      };
    } catch {
      return undefined;
    }
  }

  /**
   * Starts the workflow of a node, to finish what an earlier one left behind. One that is open under its id already is
   * success: whoever has the node in hand finds the same.
   */
  async startNode(workflowID: string, input: NodeUpgradeInput, summary: string): Promise<void> {
    await this.#startOnce(() =>
      this.#client.workflow.start(WORKFLOW_NAMES.nodeUpgrade, {
        workflowId: workflowID,
        taskQueue: taskQueue(this.#cluster),
        args: [input],
        staticSummary: summary.slice(0, 190),
        workflowTaskTimeout: input.timing.workflowTaskMs,
        ...this.#attributes(input.rolloutID, input, input.node.name),
      }),
    );
  }

  /** Starts a plan that a person asks for; `asked` tells which request it is for. One that is open already is success. */
  async startPlan(workflowID: string, input: PlanInput, summary: string, asked: string): Promise<void> {
    const { uid, generation, attempt } = input.request;
    const memo: RolloutMemo = { uid, generation, attempt, asked };
    await this.#startOnce(() =>
      this.#client.workflow.start(WORKFLOW_NAMES.plan, {
        workflowId: workflowID,
        taskQueue: taskQueue(this.#cluster),
        args: [input],
        memo: { ...memo },
        staticSummary: summary.slice(0, 190),
        workflowTaskTimeout: input.timing.workflowTaskMs,
        ...this.#attributes(workflowID, input),
      }),
    );
  }

  /** How a plan that has closed ended: what it says, or why it could not be had. */
  async planAnswer(workflowID: string): Promise<{ accepted: boolean; message: string }> {
    try {
      const ended = () =>
        this.#client.workflow.getHandle<(input: PlanInput) => Promise<PlanAnswer>>(workflowID).result();
      return { accepted: true, message: (await this.#call(ended)).message };
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error;
      const why = rootCause(error.cause) ?? error.message;
      return { accepted: false, message: `${why}; write another value to ask again` };
    }
  }

  /** Sends a signal; Temporal keeps it until a worker takes it. A workflow that has closed meanwhile needs none. */
  async signal(workflowID: string, name: 'pause' | 'resume', message: Record<string, string>): Promise<void> {
    try {
      await this.#call(() => this.#client.workflow.getHandle(workflowID).signal(name, message));
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }

  /**
   * Asks a workflow for something; under one id it acts once, and answers the same. `NotAnswered`: no worker took it up
   * in time, or it takes longer; asked again under its id, it goes on.
   */
  async update(workflowID: string, name: string, message: object, updateId: string): Promise<UpdateAnswer> {
    const handle = this.#client.workflow.getHandle(workflowID);
    try {
      const answer = await this.#call(() =>
        handle.executeUpdate<string, [object]>(name, { args: [message], updateId }),
      );
      return { accepted: true, message: answer };
    } catch (error) {
      if (error instanceof WorkflowUpdateFailedError) {
        const { cause } = error;
        const message = cause?.message ?? error.message;
        return cause instanceof ApplicationFailure && cause.type === NEXT_ATTEMPT
          ? { next: message }
          : { accepted: false, message };
      }
      if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return 'NotAnswered';
      if (error instanceof WorkflowNotFoundError) return 'Closed';
      throw error;
    }
  }

  /** Asks whether Temporal answers, so that its absence is seen also while nothing else is asked of it. */
  async probe(): Promise<void> {
    await this.#call(() => this.#connection.workflowService.getSystemInfo({})).catch(() => undefined);
  }

  /** Called whenever Temporal answers again after it did not: its database may be another one now. */
  onReturn(listener: () => void): void {
    this.#onReturn = listener;
  }

  /** Resolves when the workflow has closed, however it ended; rejects when Temporal went away meanwhile. */
  async closed(workflowID: string): Promise<void> {
    try {
      await this.#client.workflow.getHandle(workflowID).result();
    } catch (error) {
      if (!(error instanceof Error) || error.name === 'ServiceError') throw error;
    }
  }

  /** Ids of all open rollouts and plans of this cluster. A list lags: use it to find what to describe, never to decide. */
  async openRollouts(): Promise<string[]> {
    const ids: string[] = [];
    for (const type of [WORKFLOW_NAMES.rollout, WORKFLOW_NAMES.plan]) {
      const query = `ExecutionStatus = 'Running' AND WorkflowType = '${type}' AND WorkflowId STARTS_WITH '${type}/${this.#cluster.id}/'`;
      for await (const found of this.#client.workflow.list({ query })) ids.push(found.workflowId);
    }
    return ids;
  }

  /** A database that was lost took the search attributes along: they are added again, and the start is repeated. */
  async #startOnce(start: () => Promise<unknown>): Promise<void> {
    try {
      await this.#call(start);
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return;
      if (!wordsOf(error).includes('SearchAttributes')) throw error;
      await this.addSearchAttributes();
      await this.#call(start);
    }
  }

  #attributes(rolloutID: string, input: { spec: { image: string } }, node?: string) {
    if (!this.#searchAttributes) return {};
    const value = (name: string, text: string) => ({
      key: defineSearchAttributeKey(name, 'KEYWORD'),
      value: text.slice(0, 200),
    });
    return {
      typedSearchAttributes: [
        value(SEARCH_ATTRIBUTE_NAMES.cluster, this.#cluster.id),
        value(SEARCH_ATTRIBUTE_NAMES.rollout, rolloutID),
        value(SEARCH_ATTRIBUTE_NAMES.target, input.spec.image),
        ...(node === undefined ? [] : [value(SEARCH_ATTRIBUTE_NAMES.node, node)]),
      ],
    };
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    try {
      const answer = await this.#connection.withDeadline(Date.now() + CALL_DEADLINE_MS, call);
      this.#reached();
      return answer;
    } catch (error) {
      if (isAnswer(error)) this.#reached();
      else if (!(error instanceof WorkflowUpdateRPCTimeoutOrCancelledError)) await this.#failed(error);
      throw error;
    }
  }

  async #failed(error: unknown): Promise<void> {
    const since = this.#failure?.since ?? new Date().toISOString();
    const why = await this.#explain(error);
    const message = `${why}; nothing new is started, nodes in hand stay as they are`;
    this.#failure = { message: message.slice(0, 1000), since };
  }

  #reached(): void {
    if (this.#failure === undefined) return;
    this.#changedAt = new Date().toISOString();
    this.#failure = undefined;
    this.#onReturn();
  }
}

/** Whether an error is what Temporal, or a workflow, answered: a Temporal that is away gives no such one. */
const isAnswer = (error: unknown) =>
  error instanceof WorkflowNotFoundError ||
  error instanceof WorkflowExecutionAlreadyStartedError ||
  error instanceof WorkflowFailedError ||
  error instanceof WorkflowUpdateFailedError;

/** What a gRPC error says: its own message is only what was tried. */
function wordsOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { details?: string; message?: string } };
  const details = cause?.details ?? cause?.message;
  return details === undefined || message.includes(details) ? message : `${message}: ${details}`;
}

function stateOf(name: string): Exclude<EngineState['state'], 'NotFound'> {
  switch (name) {
    case 'COMPLETED':
      return 'Completed';
    case 'FAILED':
      return 'Failed';
    case 'CANCELLED':
      return 'Canceled';
    case 'TERMINATED':
      return 'Terminated';
    case 'TIMED_OUT':
      return 'TimedOut';
    default:
      return 'Open';
  }
}
