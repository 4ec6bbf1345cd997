import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';
import { pause } from './pause.ts';
import type { RawMetadata } from './raw-object.ts';

export interface LeaseOptions {
  namespace: string;
  name: string;
  /** Who we are; different for each process. */
  identity: string;
  /** After this time without renewal another process may take the Lease. At least 1000; whole seconds are stored. */
  durationMs: number;
  /** Called when we hold it; `held` is aborted when we lose it or end. */
  onHeld: (held: AbortSignal) => void;
  /** Called once for each onHeld. */
  onLost: () => void;
  signal: AbortSignal;
}

interface LeaseObject {
  metadata: RawMetadata;
  spec?: { holderIdentity?: string | null; renewTime?: string | null; leaseTransitions?: number; acquireTime?: string };
}

/**
 * Tries to hold a Lease until the signal is aborted, then gives it back. Never rejects: what fails is tried again.
 * Clocks of machines are not compared: another holder is taken for dead when its record has not changed for
 * `durationMs` of our own clock; and we stop holding before that time has passed without a renewal of ours.
 */
export async function holdLease(client: KubeClient, options: LeaseOptions): Promise<void> {
  const lease = new Lease(client, options);
  while (!options.signal.aborted) {
    await lease.turn();
    await pause(options.durationMs / 5, options.signal);
  }
  await lease.giveBack();
}

class Lease {
  readonly #client: KubeClient;
  readonly #o: LeaseOptions;
  readonly #path: string;
  #held: AbortController | undefined;
  #expiry: NodeJS.Timeout | undefined;
  #last: LeaseObject | undefined;
  #seen = { record: '', atMs: 0 };

  constructor(client: KubeClient, options: LeaseOptions) {
    this.#client = client;
    this.#o = options;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(options.namespace)}/leases`;
  }

  async turn(): Promise<void> {
    const startedAt = performance.now();
    try {
      if (await this.#take()) this.#renewed(startedAt);
      else this.#lose();
    } catch {
      // A failed turn changes nothing by itself: the expiry of what we hold runs on.
    }
  }

  /** Best effort: without it the next holder waits for the duration. */
  async giveBack(): Promise<void> {
    const wasHeld = this.#held !== undefined;
    this.#lose();
    if (!wasHeld || this.#last === undefined) return;
    await this.#write(this.#last, { holderIdentity: null, renewTime: microTime() }, false).catch(() => {});
  }

  /** Whether the Lease is ours after this. */
  async #take(): Promise<boolean> {
    const { identity, durationMs } = this.#o;
    try {
      this.#last ??= await this.#read();
      const holder = this.#last?.spec?.holderIdentity;
      if (this.#last === undefined) {
        this.#last = await this.#create();
        return true;
      }
      const isOurs = holder === identity;
      if (!isOurs && Boolean(holder) && !this.#isDead(this.#last, durationMs)) {
        this.#last = undefined;
        return false;
      }
      const times = isOurs ? {} : { acquireTime: microTime(), leaseTransitions: transitions(this.#last) + 1 };
      this.#last = await this.#write(this.#last, { holderIdentity: identity, renewTime: microTime(), ...times });
      return true;
    } catch (error) {
      this.#last = undefined;
      if (isReason(error, 'Conflict', 'AlreadyExists')) return false;
      throw error;
    }
  }

  #isDead({ metadata, spec }: LeaseObject, durationMs: number): boolean {
    const record = `${metadata.uid}/${spec?.holderIdentity}/${spec?.renewTime}`;
    const now = performance.now();
    if (record !== this.#seen.record) this.#seen = { record, atMs: now };
    return now - this.#seen.atMs >= durationMs;
  }

  #renewed(startedAt: number): void {
    clearTimeout(this.#expiry);
    const leftMs = startedAt + (this.#o.durationMs * 2) / 3 - performance.now();
    this.#expiry = setTimeout(() => this.#lose(), Math.max(0, leftMs));
    if (this.#held !== undefined || this.#o.signal.aborted) return;
    this.#held = new AbortController();
    this.#o.onHeld(this.#held.signal);
  }

  #lose(): void {
    clearTimeout(this.#expiry);
    if (this.#held === undefined) return;
    this.#held.abort(new Error(`lease ${this.#o.namespace}/${this.#o.name} is not held any more`));
    this.#held = undefined;
    this.#o.onLost();
  }

  async #read(): Promise<LeaseObject | undefined> {
    try {
      const path = `${this.#path}/${this.#o.name}`;
      return await this.#client.request<LeaseObject>({ verb: 'get', path, deadlineMs: this.#deadlineMs() });
    } catch (error) {
      if (isReason(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  #create(): Promise<LeaseObject> {
    const { namespace, name, identity } = this.#o;
    const time = microTime();
    const spec = { holderIdentity: identity, acquireTime: time, renewTime: time, ...this.#duration() };
    const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { namespace, name }, spec };
    return this.#client.request({ verb: 'create', path: this.#path, body, deadlineMs: this.#deadlineMs() });
  }

  /** A replace with the resourceVersion that we read: of two that try, one meets a Conflict. */
  #write(last: LeaseObject, change: Record<string, unknown>, abortable = true): Promise<LeaseObject> {
    const { name, signal } = this.#o;
    const body = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: last.metadata,
      spec: { ...last.spec, ...this.#duration(), ...change },
    };
    const path = `${this.#path}/${name}`;
    const deadlineMs = this.#deadlineMs();
    return this.#client.request({ verb: 'replace', path, body, deadlineMs, ...(abortable && { signal }) });
  }

  #duration(): { leaseDurationSeconds: number } {
    return { leaseDurationSeconds: Math.max(1, Math.round(this.#o.durationMs / 1000)) };
  }

  #deadlineMs(): number {
    return this.#o.durationMs / 3;
  }
}

const transitions = (lease: LeaseObject) => lease.spec?.leaseTransitions ?? 0;

/** Lease times have six digits after the second. */
const microTime = () => new Date().toISOString().replace('Z', '000Z');
