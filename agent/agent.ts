import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError, connectTo, type ApiClient, type ApiServer } from './api-client.ts';
import { readEvidence, type Evidence } from './evidence.ts';

interface AgentLog {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
}

/** idle: the machine does not run Kairos. reported: what it runs now is in its KairosNode. retrying: not yet. */
export type AgentState = 'idle' | 'reported' | 'retrying';

export interface AgentOptions {
  /** Name of the Node, and of its KairosNode. */
  readonly nodeName: string;
  /** Where the machine's own files are mounted. */
  readonly hostRoot: string;
  readonly apiServer: ApiServer;
  /** A report is repeated after this time even where nothing changed. */
  readonly reportIntervalMs: number;
  /**
   * How often it looks whether its report still is in its KairosNode: one may be deleted, replaced or restored from a
   * backup. A read from the API server's cache. Default 30000.
   */
  readonly checkIntervalMs?: number;
  /** How often the machine's files are read again. */
  readonly pollIntervalMs: number;
  readonly log: AgentLog;
  /** Version of this agent, told in the report. */
  readonly version: string;
  /** The clock; another one for tests. */
  readonly time?: AgentTime;
  /** Called after each look at the machine, also where the state stayed the same. */
  readonly onState?: (state: AgentState) => void;
}

export interface AgentTime {
  /** Monotonic: many machines have no clock that tells the time. */
  nowMs(): number;
  /** Resolves after that time, or as soon as `signal` is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

const SYSTEM_TIME: AgentTime = {
  nowMs: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
};

const FIELD_MANAGER = 'kairos-agent';
const COLLECTION = '/apis/kairos.io/v1alpha1/kairosnodes';
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;
/** Sentences of one line of the log. */
const MAX_SAID = 20;
const CHECK_INTERVAL_MS = 30_000;

/**
 * Reports what one machine runs to its KairosNode: at once, when it changes, and every `reportIntervalMs`. A failure
 * of any kind is retried for ever. On a machine that does not run Kairos it only keeps looking, and sends nothing.
 * Holds no state outside of this call, so that many can run in one process. Resolves when `signal` is aborted.
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const time = options.time ?? SYSTEM_TIME;
  const api = connectTo(options.apiServer, signal);
  const reporter = new Reporter(options, api, time);
  try {
    while (!signal.aborted) {
      const waitMs = await reporter.look(signal);
      await time.sleep(waitMs, signal);
    }
  } finally {
    api.close();
  }
}

class Reporter {
  readonly #options: AgentOptions;
  readonly #api: ApiClient;
  readonly #time: AgentTime;
  #state: AgentState | undefined;
  /** The evidence that is in the KairosNode, as text; empty before the first report. */
  #reported = '';
  #reportedAt = '';
  #reportDueMs = 0;
  #checkDueMs = 0;
  #isCheckFailing = false;
  #failures = 0;
  /** What the last look left out, as text. */
  #left = '';

  constructor(options: AgentOptions, api: ApiClient, time: AgentTime) {
    this.#options = options;
    this.#api = api;
    this.#time = time;
  }

  /** Looks at the machine once and reports where that is due. Returns how long to wait before the next look. */
  async look(signal: AbortSignal): Promise<number> {
    const { hostRoot, pollIntervalMs } = this.#options;
    try {
      const left: string[] = [];
      const evidence = await readEvidence(hostRoot, left);
      this.#say(left);
      if (evidence === undefined) this.#become('idle', 'this machine does not run Kairos: nothing to report');
      else await this.#reportWhereDue(evidence);
      this.#failures = 0;
      return jittered(pollIntervalMs);
    } catch (error) {
      return signal.aborted ? 0 : this.#retryAfter(error);
    }
  }

  async #reportWhereDue(evidence: Evidence): Promise<void> {
    const text = JSON.stringify(evidence);
    const nowMs = this.#time.nowMs();
    const isDue = text !== this.#reported || nowMs >= this.#reportDueMs;
    if (isDue || (nowMs >= this.#checkDueMs && (await this.#isLost()))) {
      await this.#report(evidence);
      this.#reported = text;
      this.#reportDueMs = this.#time.nowMs() + jittered(this.#options.reportIntervalMs);
      this.#planCheck();
    }
    const { observedVersion, bootID, bootState } = evidence;
    this.#become('reported', 'reported', { observedVersion, bootID, bootState });
  }

  #planCheck(): void {
    this.#checkDueMs = this.#time.nowMs() + jittered(this.#options.checkIntervalMs ?? CHECK_INTERVAL_MS);
  }

  /**
   * Whether the KairosNode no longer holds what was written to it last. A check that fails proves nothing and is made
   * again in its turn: an API server that comes back must not meet every agent of the fleet at once.
   */
  async #isLost(): Promise<boolean> {
    const node = this.#options.nodeName;
    this.#planCheck();
    try {
      // of version 0 means: what the API server has in its cache
      const answer = await this.#api.send({ method: 'GET', path: `${COLLECTION}/${node}?resourceVersion=0` });
      const { status } = answer as { status?: { reportedAt?: unknown } };
      this.#isCheckFailing = false;
      if (status?.reportedAt === this.#reportedAt) return false;
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) {
        if (!this.#isCheckFailing) {
          this.#options.log.warn('cannot see whether the report is still there', { node, error: explain(error) });
        }
        this.#isCheckFailing = true;
        return false;
      }
    }
    this.#options.log.info('the report is gone from the KairosNode: reporting again', { node });
    return true;
  }

  async #report(evidence: Evidence): Promise<void> {
    try {
      await this.#applyStatus(evidence);
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
      await this.#createKairosNode();
      await this.#applyStatus(evidence);
    }
  }

  /** Server-side apply: fields of ours that are no longer true go away, those of other managers stay. */
  async #applyStatus(evidence: Evidence): Promise<void> {
    const { nodeName, version } = this.#options;
    const reportedAt = new Date().toISOString();
    const status = { ...evidence, agentVersion: version.slice(0, 64), reportedAt };
    await this.#api.send({
      method: 'PATCH',
      path: `${COLLECTION}/${nodeName}/status?fieldManager=${FIELD_MANAGER}&force=true`,
      contentType: 'application/apply-patch+yaml',
      body: { ...this.#head(), status },
    });
    this.#reportedAt = reportedAt;
  }

  /** The bare name: admission refuses an agent anything that could order an upgrade. */
  async #createKairosNode(): Promise<void> {
    try {
      await this.#api.send({
        method: 'POST',
        path: `${COLLECTION}?fieldManager=${FIELD_MANAGER}`,
        contentType: 'application/json',
        body: this.#head(),
      });
      this.#options.log.info('KairosNode created', { node: this.#options.nodeName });
    } catch (error) {
      const made = error instanceof ApiError && error.reason === 'AlreadyExists';
      if (!made) throw error;
    }
  }

  #head() {
    return { apiVersion: 'kairos.io/v1alpha1', kind: 'KairosNode', metadata: { name: this.#options.nodeName } };
  }

  #retryAfter(error: unknown): number {
    const backoffMs = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS);
    const askedMs = error instanceof ApiError ? Math.min(error.retryAfterMs ?? 0, LONGEST_RETRY_MS) : 0;
    // the whole fleet is asked to wait for the same time
    const spread = 0.5 + Math.random() / 2;
    const waitMs = Math.round(Math.max(backoffMs * spread, askedMs * (0.5 + spread)));
    // an outage of a day would be thousands of equal lines
    if (this.#failures % 20 === 0) {
      const { nodeName } = this.#options;
      const fields = { node: nodeName, error: explain(error), attempt: this.#failures + 1, retryInMs: waitMs };
      this.#options.log.warn('cannot report; retrying', fields);
    }
    this.#failures = Math.min(this.#failures + 1, 1_000_000);
    this.#state = 'retrying';
    this.#options.onState?.('retrying');
    return waitMs;
  }

  /** Once for as long as it stays the same. */
  #say(left: readonly string[]): void {
    const text = JSON.stringify(left);
    if (text !== this.#left && left.length > 0) {
      this.#options.log.warn('left out of the report', { node: this.#options.nodeName, left: left.slice(0, MAX_SAID) });
    }
    this.#left = text;
  }

  #become(state: AgentState, message: string, fields: Record<string, unknown> = {}): void {
    if (this.#state !== state) this.#options.log.info(message, { node: this.#options.nodeName, ...fields });
    this.#state = state;
    this.#options.onState?.(state);
  }
}

/** Ten per cent to either side, so that a fleet that started together does not report together. */
function jittered(intervalMs: number): number {
  return Math.round(intervalMs * (0.9 + Math.random() / 5));
}

/** What happened, and for the answers that a person can mend what to do. */
function explain(error: unknown): string {
  const hints: Record<number, string> = {
    401: 'the token is not accepted: it is read again for the next attempt; check its audience',
    403: 'grant create and get on kairosnodes, and get, patch and update on kairosnodes/status',
    404: 'is the CustomResourceDefinition kairosnodes.kairos.io installed?',
  };
  const text = messageOf(error);
  // A policy says itself what it refuses and what to do; rights would not help.
  const hint = error instanceof ApiError && !text.includes('ValidatingAdmissionPolicy') ? hints[error.code] : undefined;
  return hint === undefined ? text : `${text} (${hint})`;
}

function messageOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error);
  const { message, cause, errors } = error as { message?: unknown; cause?: unknown; errors?: unknown };
  // a connection that failed for every address is an AggregateError without a message of its own
  const own = message === '' && Array.isArray(errors) ? errors.map(messageOf).join(', ') : String(message);
  return cause === undefined ? own : `${own}: ${messageOf(cause)}`;
}
