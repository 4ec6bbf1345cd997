import type { EventObject } from '../kube/events.ts';
import { KubeError, isReason } from '../kube/errors.ts';
import { pause } from '../kube/pause.ts';
import { identity, type Notice } from '../policy/events.ts';

/** What is to be said, about whom. */
export interface Told {
  about: EventObject;
  notice: Notice;
}

export interface TellingOptions {
  /** Writes it; answers whether it had been said already. */
  create: (told: Told) => Promise<boolean>;
  /** Says it once more; `count` is undefined where it is not known. Rejects with `NotFound` when it has expired. */
  repeat: (told: Told, count: number | undefined) => Promise<void>;
  log: { debug(fields: object, message: string): void; info(fields: object, message: string): void };
  signal: AbortSignal;
}

/** At most so many writes a second, over time; as many at once after a quiet time. */
const RATE_PER_SECOND = 10;
const BURST = 100;
/** So many wait at most; Normal ones give way first. */
const NORMAL_WAITING = 200;
const WAITING = 1_000;
/** One object gets so many Events an hour. */
const PER_OBJECT = 30;
const HOUR_MS = 3_600_000;
/** What happens again within this time is only counted. */
const REPEAT_MS = 5 * 60_000;
const TRIES = 3;
const AGAIN_MS = 1_000;

interface Said {
  saidAtMs: number;
  /** How often it has been written; undefined: another process wrote it first. */
  count: number | undefined;
  /** How often it has happened since it was last written. */
  unwritten: number;
}

/**
 * Says things one after the other, each once, and at a bounded rate. What is too much is dropped and counted in the log:
 * Normal ones before Warnings, since the state of an object tells the former, too.
 */
export class Telling {
  readonly #o: TellingOptions;
  readonly #queue: Told[] = [];
  readonly #said = new Map<string, Said>();
  readonly #ofObject = new Map<string, { count: number; sinceMs: number }>();
  #tokens = BURST;
  #filledAtMs = Date.now();
  #running = false;
  #dropped = 0;

  constructor(options: TellingOptions) {
    this.#o = options;
  }

  /** Never waits and never throws. */
  tell(told: Told): void {
    if (this.#o.signal.aborted || this.#isCounted(told)) return;
    const limit = told.notice.type === 'Normal' ? NORMAL_WAITING : WAITING;
    if (this.#queue.length >= limit || !this.#mayHear(told.about.uid)) {
      this.#dropped += 1;
      return;
    }
    this.#queue.push(told);
    if (!this.#running) void this.#run();
  }

  /** Whether it was said a short while ago, and need not be written again. */
  #isCounted(told: Told): boolean {
    const key = keyOf(told);
    const said = this.#said.get(key);
    if (said !== undefined && Date.now() - said.saidAtMs < REPEAT_MS) {
      said.unwritten += 1;
      return true;
    }
    return this.#queue.some((waiting) => keyOf(waiting) === key);
  }

  #mayHear(uid: string): boolean {
    const now = Date.now();
    const known = this.#ofObject.get(uid);
    const heard = known === undefined || now - known.sinceMs > HOUR_MS ? { count: 0, sinceMs: now } : known;
    this.#ofObject.set(uid, heard);
    if (heard.count >= PER_OBJECT) return false;
    heard.count += 1;
    return true;
  }

  async #run(): Promise<void> {
    this.#running = true;
    const { signal, log } = this.#o;
    // It stays in the queue until it is written: told again meanwhile, it is the same.
    for (let [told] = this.#queue; told !== undefined && !signal.aborted; [told] = this.#queue) {
      await this.#takeToken();
      await this.#write(told);
      this.#queue.shift();
    }
    this.#running = false;
    if (this.#dropped > 0) log.info({ dropped: this.#dropped }, 'Events were left out: too many at once');
    this.#dropped = 0;
    this.#forgetOld();
  }

  async #takeToken(): Promise<void> {
    const now = Date.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#filledAtMs) / 1000) * RATE_PER_SECOND);
    this.#filledAtMs = now;
    this.#tokens -= 1;
    if (this.#tokens < 0) await pause((-this.#tokens / RATE_PER_SECOND) * 1000, this.#o.signal);
  }

  async #write(told: Told): Promise<void> {
    const { signal, log } = this.#o;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        await this.#writeOnce(told);
        return;
      } catch (error) {
        if (attempt < TRIES && error instanceof KubeError && error.retryable) {
          await pause(AGAIN_MS, signal);
          continue;
        }
        const { about, notice } = told;
        log.debug({ about: about.name, reason: notice.reason, error: (error as Error).message }, 'Event not written');
        return;
      }
    }
  }

  async #writeOnce(told: Told): Promise<void> {
    const key = keyOf(told);
    const said = this.#said.get(key);
    if (said !== undefined && Date.now() - said.saidAtMs < HOUR_MS) {
      const count = said.count === undefined ? undefined : said.count + said.unwritten + 1;
      try {
        await this.#o.repeat(told, count);
        this.#said.set(key, { saidAtMs: Date.now(), count, unwritten: 0 });
        return;
      } catch (error) {
        if (!isReason(error, 'NotFound')) throw error;
      }
    }
    const existed = await this.#o.create(told);
    this.#said.set(key, { saidAtMs: Date.now(), count: existed ? undefined : 1, unwritten: 0 });
  }

  /** The API server keeps an Event for an hour. */
  #forgetOld(): void {
    const now = Date.now();
    for (const [key, { saidAtMs }] of this.#said) if (now - saidAtMs > HOUR_MS) this.#said.delete(key);
    for (const [uid, { sinceMs }] of this.#ofObject) if (now - sinceMs > HOUR_MS) this.#ofObject.delete(uid);
  }
}

const keyOf = ({ about, notice }: Told) => `${about.uid}/${identity(notice)}`;
