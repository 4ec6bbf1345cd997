import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ClientObserver } from './observed-client.ts';
import type { Readiness } from './readiness.ts';

/** From an answer out of a cache to the deadline of a call. */
const CALL_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What watcher and worker both tell Prometheus. No label holds the name of an object: their number has no bound. */
export class Metrics implements ClientObserver {
  readonly registry = new Registry();
  readonly #requests: Counter<'verb' | 'resource' | 'code'>;
  readonly #seconds: Histogram<'verb'>;
  readonly #watches: Counter<'resource' | 'end'>;
  readonly #heardAtMs = new Map<string, number>();

  constructor(readiness: Readiness) {
    const registers = [this.registry];
    this.#requests = new Counter({
      name: 'kairos_api_requests_total',
      help: 'Calls to the API server. code: of HTTP, or why there was no answer (Unreachable, Timeout, Aborted).',
      labelNames: ['verb', 'resource', 'code'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'kairos_api_request_duration_seconds',
      help: 'How long calls to the API server took, waiting for a connection and what was repeated included.',
      labelNames: ['verb'],
      buckets: CALL_BUCKETS,
      registers,
    });
    this.#watches = new Counter({
      name: 'kairos_watches_ended_total',
      help: 'Watches that ended and were opened anew: closed by the API server, as it does every few minutes, or failed.',
      labelNames: ['resource', 'end'],
      registers,
    });
    for (const gauge of gaugesOf(readiness, this.#heardAtMs)) this.registry.registerMetric(gauge);
  }

  /** Memory, CPU, event loop and so on of this process; once in a process. */
  collectProcess(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  called({ verb, resource, code, seconds }: Parameters<ClientObserver['called']>[0]): void {
    this.#requests.inc({ verb, resource, code });
    this.#seconds.observe({ verb }, seconds);
  }

  heard(resource: string): void {
    this.#heardAtMs.set(resource, performance.now());
  }

  watchEnded(resource: string, end: 'closed' | 'failed'): void {
    this.#watches.inc({ resource, end });
  }
}

/** What is read at each scrape. */
const gaugesOf = (readiness: Readiness, heardAtMs: ReadonlyMap<string, number>): Gauge[] => [
  new Gauge({
    name: 'kairos_watch_silence_seconds',
    help: 'For how long the watch of this resource has heard nothing. The API server speaks about once a minute.',
    labelNames: ['resource'],
    registers: [],
    collect() {
      for (const [resource, atMs] of heardAtMs) this.set({ resource }, (performance.now() - atMs) / 1000);
    },
  }),
  new Gauge({
    name: 'kairos_missing',
    help: '1 for each part that this process lacks to do its work, as /readyz names it.',
    labelNames: ['part'],
    registers: [],
    collect() {
      this.reset();
      for (const part of readiness.missing) this.set({ part }, 1);
    },
  }),
  new Gauge({
    name: 'kairos_temporal_connected',
    help: '1 while Temporal and our namespace there answer.',
    registers: [],
    collect() {
      this.set(readiness.missing.some((part) => part.startsWith('Temporal')) ? 0 : 1);
    },
  }),
];
