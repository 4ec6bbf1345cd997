import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { ActivityCancellationDetails, CancelledFailure, noopMetricMeter } from '@temporalio/common';
import { msToNumber, msToTs, optionalTsToMs } from '@temporalio/common/lib/time.js';
import type { Due, VirtualClock } from './clock.ts';
import {
  ACTIVITY_CANCELLATION,
  RETRY_STATE,
  type RetryState,
  canceled,
  decode,
  encode,
  encodeError,
  timedOut,
  type ActivityResolution,
  type Body,
  type Failure,
} from './protocol.ts';

/** What a workflow asked for when it scheduled an activity, in milliseconds. */
export interface ActivityRequest {
  type: string;
  id: string;
  input: unknown[];
  local: boolean;
  workflow: { id: string; runID: string };
  /** The first attempt's number: above one where the workflow itself waited between two attempts. */
  attempt: number;
  startToCloseMs: number | undefined;
  scheduleToCloseMs: number | undefined;
  /** An activity that has one is taken to heartbeat, and so to hear of a cancel. */
  heartbeatMs: number | undefined;
  /** When it was first scheduled. */
  scheduledAt: number;
  cancellation: number;
  retry: Retry;
  /** A local activity whose next attempt is further away than this waits by a timer of its workflow. */
  localRetryThresholdMs: number;
}

export interface Retry {
  initialMs: number;
  coefficient: number;
  maximumMs: number;
  attempts: number;
  finalTypes: readonly string[];
}

/** One attempt, from the moment a worker takes it to the moment its code has returned. */
export interface Attempt {
  activity: string;
  number: number;
  workflowID: string;
  input: unknown;
  startedAt: number;
  endedAt?: number;
}

export interface ActivityHost {
  clock: VirtualClock;
  latency(kind: 'activity' | 'answer' | 'cancel'): number;
  run(type: string, input: unknown[]): Promise<unknown>;
  began(attempt: Attempt): void;
}

/** `started`: whether a worker had taken it when it ended. */
type Settle = (resolution: ActivityResolution, started: boolean) => void;

/** An activity with its attempts and its cancel, as the server and a worker handle them. */
export class ActivityTask {
  readonly request: ActivityRequest;
  readonly #host: ActivityHost;
  readonly #settle: Settle;
  readonly #timers: Due[] = [];
  #number: number;
  #running: RunningAttempt | undefined;
  #waiting: Due | undefined;
  #cancelRequested = false;
  #settled = false;

  constructor(host: ActivityHost, request: ActivityRequest, settle: Settle) {
    this.#host = host;
    this.request = request;
    this.#settle = settle;
    this.#number = request.attempt;
    if (request.scheduleToCloseMs !== undefined)
      this.#timers.push(
        host.clock.in(request.scheduleToCloseMs, () =>
          this.#fail(timedOut('ScheduleToClose'), 'Activity task timed out'),
        ),
      );
    this.#waiting = host.clock.in(host.latency('activity'), () => this.#begin());
  }

  /** Resolves by the cancellation type that the workflow chose. */
  requestCancel(): void {
    if (this.#settled || this.#cancelRequested) return;
    this.#cancelRequested = true;
    const { cancellation } = this.request;
    if (cancellation !== ACTIVITY_CANCELLATION.abandon) {
      if (this.#waiting !== undefined) {
        // Not with a worker: there is nobody to ask.
        this.#waiting.cancel();
        this.#waiting = undefined;
        this.#end(
          {
            cancelled: { failure: this.#wrap('Activity cancelled', canceled(), RETRY_STATE.cancelRequested) },
          },
          false,
        );
        return;
      }
      this.#host.clock.in(this.#host.latency('cancel'), () => this.#running?.hearOfCancel('CANCELLED'));
    }
    if (cancellation !== ACTIVITY_CANCELLATION.waitCompleted)
      this.#end({ cancelled: { failure: this.#wrap('Activity cancelled', canceled(), RETRY_STATE.cancelRequested) } });
  }

  /** Its workflow has closed: nobody waits for it any more, and it hears so at its next heartbeat. */
  abandon(): void {
    this.#settled = true;
    this.#waiting?.cancel();
    for (const timer of this.#timers) timer.cancel();
    this.#running?.hearOfCancel('NOT_FOUND');
  }

  #begin(): void {
    this.#waiting = undefined;
    const { clock } = this.#host;
    const running = new RunningAttempt(this.#host, this.request, this.#number);
    this.#running = running;
    const { startToCloseMs } = this.request;
    const timer =
      startToCloseMs === undefined
        ? undefined
        : clock.in(startToCloseMs, () => {
            running.hearOfCancel('TIMED_OUT');
            this.#attemptFailed(running, timedOut('StartToClose'), 'Activity task timed out');
          });
    const later = (ended: () => void) => {
      clock.in(this.#host.latency('answer'), () => {
        if (this.#running !== running) return;
        timer?.cancel();
        ended();
      });
    };
    void running.outcome.then(
      (value) => later(() => this.#end({ completed: { result: encode(value) } })),
      (error: unknown) =>
        later(() => {
          if (error instanceof CancelledFailure && this.#cancelRequested)
            this.#end({
              cancelled: { failure: this.#wrap('Activity cancelled', canceled(), RETRY_STATE.cancelRequested) },
            });
          else this.#attemptFailed(running, encodeError(error), 'Activity task failed');
        }),
    );
  }

  #attemptFailed(attempt: RunningAttempt, failure: Failure, message: string): void {
    if (this.#running !== attempt) return;
    this.#running = undefined;
    if (this.#settled) return;
    const { retry, local, localRetryThresholdMs } = this.request;
    const application = failure.applicationFailureInfo;
    const final =
      application?.nonRetryable === true || retry.finalTypes.includes(application?.type ?? '') || this.#cancelRequested;
    if (final || (retry.attempts > 0 && this.#number >= retry.attempts)) return this.#fail(failure, message);
    const backoffMs = Math.min(retry.initialMs * retry.coefficient ** (this.#number - 1), retry.maximumMs);
    this.#number += 1;
    if (local && backoffMs > localRetryThresholdMs)
      this.#end({ backoff: { attempt: this.#number, backoffDuration: msToTs(backoffMs) } });
    else this.#waiting = this.#host.clock.in(backoffMs + this.#host.latency('activity'), () => this.#begin());
  }

  #fail(failure: Failure, message: string): void {
    const state = this.#cancelRequested ? RETRY_STATE.cancelRequested : RETRY_STATE.nonRetryable;
    // A failed local activity reaches the workflow as it is; only the server wraps failures.
    const bare = this.request.local && failure.applicationFailureInfo != null;
    this.#end({ failed: { failure: bare ? failure : this.#wrap(message, failure, state) } });
  }

  #end(resolution: ActivityResolution, started = true): void {
    if (this.#settled) return;
    this.#settled = true;
    for (const timer of this.#timers) timer.cancel();
    this.#settle(resolution, started);
  }

  #wrap(message: string, cause: Failure, retryState: RetryState): Failure {
    const { type, id } = this.request;
    return { message, cause, activityFailureInfo: { activityType: { name: type }, activityId: id, retryState } };
  }
}

type CancelReason = 'CANCELLED' | 'NOT_FOUND' | 'TIMED_OUT';

/** The code of an activity while it runs, inside the SDK's own activity context. */
class RunningAttempt {
  readonly outcome: Promise<unknown>;
  readonly #abort = new AbortController();
  readonly #cancelled = Promise.withResolvers<never>();
  readonly #hears: boolean;
  #untold: CancelReason | undefined;

  constructor(host: ActivityHost, request: ActivityRequest, number: number) {
    this.#hears = request.local || request.heartbeatMs !== undefined;
    this.#cancelled.promise.catch(() => undefined);
    const context = new Context(
      activityInfo(request, number, host.clock.now),
      this.#cancelled.promise,
      this.#abort.signal,
      () => this.#tell(),
      undefined,
      SILENT,
      noopMetricMeter,
      { details: new ActivityCancellationDetails() },
    );
    const sleep: Context['sleep'] = (duration) => {
      const timer = Promise.withResolvers<void>();
      const due = host.clock.in(msToNumber(duration), () => timer.resolve());
      return Promise.race([this.#cancelled.promise.finally(() => due.cancel()), timer.promise]);
    };
    Object.assign(context, { sleep });
    const attempt: Attempt = {
      activity: request.type,
      number,
      workflowID: request.workflow.id,
      input: request.input[0],
      startedAt: host.clock.now,
    };
    host.began(attempt);
    this.outcome = asyncLocalStorage
      .run(context, async () => host.run(request.type, request.input))
      .finally(() => {
        attempt.endedAt = host.clock.now;
      });
  }

  /** A cancel comes back with a heartbeat; an activity that sends none never hears of it. */
  hearOfCancel(reason: CancelReason): void {
    this.#untold ??= reason;
    if (this.#hears) this.#tell();
  }

  #tell(): void {
    if (this.#untold === undefined || this.#abort.signal.aborted) return;
    const failure = new CancelledFailure(this.#untold);
    this.#abort.abort(failure);
    this.#cancelled.reject(failure);
  }
}

const ignore = () => undefined;
const SILENT = { log: ignore, trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };

const activityInfo = (request: ActivityRequest, attempt: number, now: number) =>
  ({
    activityType: request.type,
    activityId: request.id,
    attempt,
    isLocal: request.local,
    workflowExecution: { workflowId: request.workflow.id, runId: request.workflow.runID },
    namespace: 'default',
    workflowNamespace: 'default',
    taskQueue: 'driver',
    heartbeatDetails: undefined,
    scheduledTimestampMs: request.scheduledAt,
    currentAttemptScheduledTimestampMs: now,
    startToCloseTimeoutMs: request.startToCloseMs,
    heartbeatTimeoutMs: request.heartbeatMs,
  }) as unknown as Info;

/** What a workflow's command asks for, with the defaults of the server. */
export function activityRequest(
  body: Body<'scheduleActivity'> & Body<'scheduleLocalActivity'>,
  local: boolean,
  workflow: ActivityRequest['workflow'],
  now: number,
): ActivityRequest {
  const retry = body.retryPolicy;
  const initialMs = optionalTsToMs(retry?.initialInterval) ?? 1_000;
  return {
    type: body.activityType ?? '',
    id: body.activityId ?? '',
    input: (body.arguments ?? []).map(decode),
    local,
    workflow,
    attempt: body.attempt ?? 1,
    startToCloseMs: optionalTsToMs(body.startToCloseTimeout),
    scheduleToCloseMs: optionalTsToMs(body.scheduleToCloseTimeout),
    heartbeatMs: optionalTsToMs(body.heartbeatTimeout),
    scheduledAt: now,
    cancellation: body.cancellationType ?? ACTIVITY_CANCELLATION.tryCancel,
    retry: {
      initialMs,
      coefficient: retry?.backoffCoefficient || 2,
      maximumMs: optionalTsToMs(retry?.maximumInterval) ?? 100 * initialMs,
      attempts: retry?.maximumAttempts ?? 0,
      finalTypes: retry?.nonRetryableErrorTypes ?? [],
    },
    localRetryThresholdMs: optionalTsToMs(body.localRetryThreshold) ?? 60_000,
  };
}

/** The events that the end of an activity is; the start of its last attempt is written with it. */
export function endOfActivity({ completed, cancelled }: ActivityResolution, started: boolean): string[] {
  const end = completed != null ? 'COMPLETED' : cancelled != null ? 'CANCELED' : 'FAILED';
  return [...(started ? ['ACTIVITY_TASK_STARTED'] : []), `ACTIVITY_TASK_${end}`];
}
