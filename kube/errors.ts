import { defined } from './defined.ts';

/** One of the reasons that the API server gives inside an error. */
export interface ErrorCause {
  field?: string;
  message: string;
  reason?: string;
}

interface KubeErrorFields {
  verb: string;
  path: string;
  code?: number;
  reason: string;
  retryable: boolean;
  retryAfterMs?: number;
  causes?: ErrorCause[];
  body?: unknown;
}

/**
 * A call to the API server that did not do what was asked.
 *
 * `reason` is the API server's own word (`NotFound`, `Conflict`, `AlreadyExists`, `Forbidden`, `Invalid`,
 * `TooManyRequests`, `Expired`, `Gone`, `ServerTimeout`, …) or one of ours: `Unreachable` (no connection, or it broke),
 * `Timeout` (our deadline passed), `NotServed` (404 for the resource itself: its CRD is not installed or not ready).
 * `retryable` says whether the same call may succeed when it is simply repeated. After `Unreachable` and `Timeout` the
 * call may nevertheless have been carried out.
 */
export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly verb: string;
  readonly path: string;
  readonly code?: number;
  readonly reason: string;
  readonly retryable: boolean;
  /** How long the API server asked us to wait. */
  readonly retryAfterMs?: number;
  readonly causes: ErrorCause[];
  readonly body?: unknown;

  constructor(message: string, fields: KubeErrorFields, options?: ErrorOptions) {
    super(message, options);
    this.verb = fields.verb;
    this.path = fields.path;
    this.reason = fields.reason;
    this.retryable = fields.retryable;
    this.causes = fields.causes ?? [];
    if (fields.code !== undefined) this.code = fields.code;
    if (fields.retryAfterMs !== undefined) this.retryAfterMs = fields.retryAfterMs;
    if (fields.body !== undefined) this.body = fields.body;
  }
}

/** Whether `error` is a KubeError with one of these reasons. */
export function isReason(error: unknown, ...reasons: string[]): boolean {
  return error instanceof KubeError && reasons.includes(error.reason);
}

/** The Status object that the API server answers with when something is wrong. */
interface Status {
  kind?: string;
  code?: number;
  reason?: string;
  message?: string;
  details?: { causes?: Partial<ErrorCause>[]; retryAfterSeconds?: number };
}

/** The error behind an HTTP answer of 400 or more, or behind an ERROR event of a watch (`code` is then in the body). */
export function errorFromAnswer(
  call: { verb: string; path: string },
  answer: { code?: number; body: unknown; retryAfter?: string | undefined },
): KubeError {
  const status = asStatus(answer.body);
  const { details = {} } = status ?? {};
  const code = answer.code ?? status?.code ?? 500;
  const reason = status?.reason || reasonOfCode(code, status !== undefined);
  const message = `${call.verb} ${call.path}: ${reason} (${code}): ${said(answer.body)}${nextStep(reason)}`;
  return new KubeError(message, {
    ...call,
    code,
    reason,
    retryable: reason === 'NotServed' || isRetryableCode(code),
    ...defined({ retryAfterMs: secondsToMs(answer.retryAfter) ?? secondsToMs(details.retryAfterSeconds) }),
    causes: (details.causes ?? []).map(causeOf),
    body: answer.body,
  });
}

function said(body: unknown): string {
  const text = typeof body === 'string' ? body.trim().slice(0, 500) : asStatus(body)?.message;
  return text || 'no message';
}

const causeOf = ({ field, reason, message = '' }: Partial<ErrorCause>): ErrorCause => ({
  message,
  ...defined({ field, reason }),
});

/** No answer: the connection could not be made, or broke. */
export function unreachable(call: { verb: string; path: string }, cause: unknown): KubeError {
  const { code, message } = cause as { code?: string; message?: string };
  const why = [code, message].filter(Boolean).join(': ') || String(cause);
  return new KubeError(
    `${call.verb} ${call.path}: the API server cannot be reached (${why}); the call may be repeated`,
    { ...call, reason: 'Unreachable', retryable: true },
    { cause },
  );
}

/** No answer in time. */
export function timedOut(call: { verb: string; path: string }, deadlineMs: number): KubeError {
  return new KubeError(
    `${call.verb} ${call.path}: no complete answer from the API server within ${deadlineMs} ms; the call may be repeated`,
    { ...call, reason: 'Timeout', retryable: true },
  );
}

function asStatus(body: unknown): Status | undefined {
  const isStatus = typeof body === 'object' && body !== null && (body as Status).kind === 'Status';
  return isStatus ? body : undefined;
}

/** The API server answers a missing object with a Status, and a missing resource with the text "404 page not found". */
function reasonOfCode(code: number, isStatus: boolean): string {
  if (code === 404 && !isStatus) return 'NotServed';
  return REASONS[code] ?? (code >= 500 ? 'InternalError' : 'BadRequest');
}

const REASONS: Record<number, string> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Gone',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable',
  504: 'ServerTimeout',
};

/** 401 is among them: tokens rotate, and a starting API server may not yet know their key. */
function isRetryableCode(code: number): boolean {
  return code === 401 || code === 429 || code >= 500;
}

function nextStep(reason: string): string {
  switch (reason) {
    case 'Unauthorized':
      return '; check that the token or client certificate in use is still valid';
    case 'Forbidden':
      return '; check the RBAC rules and admission policies for the account in use';
    case 'NotServed':
      return '; install the custom resource definitions';
    default:
      return '';
  }
}

function secondsToMs(seconds: string | number | undefined): number | undefined {
  const value = Number(seconds);
  return seconds === undefined || seconds === '' || !Number.isFinite(value) || value < 0 ? undefined : value * 1000;
}
