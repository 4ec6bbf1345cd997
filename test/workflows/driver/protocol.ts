import { defaultFailureConverter, defaultPayloadConverter, ensureApplicationFailure } from '@temporalio/common';
import type { Workflow } from '@temporalio/worker/lib/workflow/interface.js';

/** The messages between the SDK's sandbox and the engine that drives it, by their names in the SDK's protocol. */
export type Activation = Parameters<Workflow['activate']>[0];
export type Job = NonNullable<Activation['jobs']>[number];
type Completion = Awaited<ReturnType<Workflow['activate']>>;
export type Command = NonNullable<NonNullable<Completion['successful']>['commands']>[number];
export type Body<K extends keyof Command> = NonNullable<Command[K]>;
export type Failure = NonNullable<Body<'failWorkflowExecution'>['failure']>;
export type Payload = NonNullable<NonNullable<Body<'scheduleActivity'>['arguments']>[number]>;
export type ActivityResolution = NonNullable<NonNullable<Job['resolveActivity']>['result']>;

export const encode = (value: unknown): Payload => defaultPayloadConverter.toPayload(value);
export const decode = (payload: Payload | null | undefined): unknown =>
  payload == null ? undefined : defaultPayloadConverter.fromPayload(payload);

/** An error as it travels; what is no failure of Temporal becomes an ApplicationFailure of its class's name. */
export const encodeError = (error: unknown): Failure =>
  defaultFailureConverter.errorToFailure(ensureApplicationFailure(error), defaultPayloadConverter);
export const decodeError = (failure: Failure): Error =>
  defaultFailureConverter.failureToError(failure, defaultPayloadConverter);

export const canceled = (message?: string): Failure => ({
  ...(message === undefined ? {} : { message }),
  canceledFailureInfo: {},
});
export const terminated = (): Failure => ({ message: 'Terminated', terminatedFailureInfo: {} });
export const timedOut = (timeoutType: TimeoutType): Failure => ({
  message: `activity ${timeoutType} timeout`,
  timeoutFailureInfo: { timeoutType: TIMEOUT_TYPES[timeoutType] },
});
/** What a signal or a cancel of a workflow that is not open answers. */
export const notFound = (what: 'signal' | 'cancel'): Failure => ({
  message: `Unable to ${what} external workflow because it was not found`,
  applicationFailureInfo: { type: 'ExternalWorkflowExecutionNotFound' },
});

type EnumOf<T, K extends keyof T> = NonNullable<T[K]>;
type TimeoutNumber = EnumOf<NonNullable<Failure['timeoutFailureInfo']>, 'timeoutType'>;
export type RetryState = EnumOf<NonNullable<Failure['activityFailureInfo']>, 'retryState'>;
export type TimeoutType = 'StartToClose' | 'ScheduleToClose';
const TIMEOUT_TYPES = { StartToClose: 1, ScheduleToClose: 3 } as unknown as Record<TimeoutType, TimeoutNumber>;

/** The numbers of the protocol's enums. */
export const ACTIVITY_CANCELLATION = { tryCancel: 0, waitCompleted: 1, abandon: 2 } as const;
export const CHILD_CANCELLATION = { abandon: 0, tryCancel: 1, waitCompleted: 2, waitRequested: 3 } as const;
export const PARENT_CLOSE = { terminate: 1, abandon: 2, requestCancel: 3 } as const;
export const RETRY_STATE = { nonRetryable: 2, cancelRequested: 7 } as unknown as Record<
  'nonRetryable' | 'cancelRequested',
  RetryState
>;

export const closes = (command: Command) =>
  command.completeWorkflowExecution != null ||
  command.failWorkflowExecution != null ||
  command.cancelWorkflowExecution != null ||
  command.continueAsNewWorkflowExecution != null;

/** Commands that say something to somebody, and are not answered by an event of their own kind. */
export const MESSAGES = [
  'signalExternalWorkflowExecution',
  'requestCancelExternalWorkflowExecution',
  'cancelSignalWorkflow',
  'upsertWorkflowSearchAttributes',
  'modifyWorkflowProperties',
  'setPatchMarker',
  'updateResponse',
] as const;
