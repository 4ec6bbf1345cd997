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
  /** A report is repeated after this time even where nothing changed, which also notices a deleted KairosNode. */
  readonly reportIntervalMs: number;
  /** How often the machine's files are read again. */
  readonly pollIntervalMs: number;
  readonly log: AgentLog;
  /** Version of this agent, told in the report. */
  readonly version: string;
  /** Called after each look at the machine, also where the state stayed the same. */
  readonly onState?: (state: AgentState) => void;
}

const FIELD_MANAGER = 'kairos-agent';
const COLLECTION = '/apis/kairos.io/v1alpha1/kairosnodes';
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;

/**
 * Reports what one machine runs to its KairosNode: at once, when it changes, and every `reportIntervalMs`. A failure
 * of any kind is retried for ever. On a machine that does not run Kairos it only keeps looking, and sends nothing.
 * Holds no state outside of this call, so that many can run in one process. Resolves when `signal` is aborted.
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const api = connectTo(options.apiServer, signal);
  const reporter = new Reporter(options, api);
  try {
    while (!signal.aborted) {
      const waitMs = await reporter.look(signal);
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    api.close();
  }
}

class Reporter {
  readonly #options: AgentOptions;
  readonly #api: ApiClient;
  #state: AgentState | undefined;
  /** The evidence that is in the KairosNode, as text; empty before the first report. */
  #reported = '';
  #reportDueMs = 0;
  #failures = 0;

  constructor(options: AgentOptions, api: ApiClient) {
    this.#options = options;
    this.#api = api;
  }

  /** Looks at the machine once and reports where that is due. Returns how long to wait before the next look. */
  async look(signal: AbortSignal): Promise<number> {
    const { hostRoot, pollIntervalMs } = this.#options;
    try {
      const evidence = await readEvidence(hostRoot);
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
    // a monotonic clock: many machines have none that tells the time
    if (text !== this.#reported || performance.now() >= this.#reportDueMs) {
      await this.#report(evidence);
      this.#reported = text;
      this.#reportDueMs = performance.now() + jittered(this.#options.reportIntervalMs);
    }
    const { observedVersion, bootID, bootState } = evidence;
    this.#become('reported', 'reported', { observedVersion, bootID, bootState });
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
    const status = { ...evidence, agentVersion: version.slice(0, 64), reportedAt: new Date().toISOString() };
    await this.#api.send({
      method: 'PATCH',
      path: `${COLLECTION}/${nodeName}/status?fieldManager=${FIELD_MANAGER}&force=true`,
      contentType: 'application/apply-patch+yaml',
      body: { ...this.#head(), status },
    });
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
    const waitMs = Math.round(Math.max(backoffMs * (0.5 + Math.random() / 2), askedMs));
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
  const hint = error instanceof ApiError ? hints[error.code] : undefined;
  return hint === undefined ? text : `${text} (${hint})`;
}

function messageOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error);
  const { message, cause, errors } = error as { message?: unknown; cause?: unknown; errors?: unknown };
  // a connection that failed for every address is an AggregateError without a message of its own
  const own = message === '' && Array.isArray(errors) ? errors.map(messageOf).join(', ') : String(message);
  return cause === undefined ? own : `${own}: ${messageOf(cause)}`;
}
