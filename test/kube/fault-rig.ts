import { getEventListeners } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { STEP_LABEL } from '../../api/names.ts';
import { type KubeClient, connectToCluster } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { insist } from '../../kube/insist.ts';
import { pause } from '../../kube/pause.ts';
import { type ControlPlane, startControlPlane } from '../../sim/control-plane.ts';
import { Faults } from './faults.ts';
import { FaultyProxy, type Forwarded } from './faulty-proxy.ts';

const CRDS = 'deploy/crds';
const NEVER = new AbortController().signal;
export const NODES = ['n0', 'n1', 'n2', 'n3'];

/** The deadline of calls through the faulty network, lists included: stalls are waited for. */
export const CALL_DEADLINE_MS = 600;
/** What a call may end after its deadline, on a machine that is busy with other things. */
const MARGIN_MS = 2500;
export const TIMINGS = { retryInitialMs: 50, retryMaximumMs: 250, silenceMs: 1200, watchSeconds: 20 };

/** A real API server, a direct way to it and a faulty one. */
export interface Rig {
  folder: string;
  controlPlane: ControlPlane;
  faults: Faults;
  proxy: FaultyProxy;
  admin: KubeClient;
  faulty: KubeClient;
  calls: CallTimes;
  /** What was found to be wrong. */
  problems: string[];
  stop(): Promise<void>;
}

export async function startRig(folder: string, seed: number): Promise<Rig> {
  const controlPlane = await startControlPlane({ folder });
  const admin = connectToCluster({ kubeconfig: controlPlane.adminKubeconfig });
  await prepareObjects(admin);
  // Nothing but the faults and the test changes objects.
  await Promise.all([
    controlPlane.processes['kube-controller-manager'].stop(),
    controlPlane.processes['kube-scheduler'].stop(),
  ]);
  const faults = new Faults(seed);
  const { url, caFile } = controlPlane;
  const problems: string[] = [];
  const proxy = await FaultyProxy.start({ folder, url, caFile, faults, onWrite: carriedOutOnce(problems) });
  const calls = new CallTimes(problems);
  const connected = connectToCluster({ kubeconfig: proxy.kubeconfig });
  return {
    folder,
    controlPlane,
    faults,
    proxy,
    admin,
    faulty: calls.timed(connected),
    calls,
    problems,
    stop: async () => {
      await connected.close();
      await admin.close();
      await proxy.stop();
      await controlPlane.stop();
    },
  };
}

async function prepareObjects(admin: KubeClient): Promise<void> {
  const crds = readdirSync(CRDS).flatMap((file) => parseAllDocuments(readFileSync(join(CRDS, file), 'utf8')));
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  await Promise.all(crds.map((crd) => admin.request({ verb: 'create', path, body: crd.toJS() })));
  for (const name of NODES) {
    await admin.request({ verb: 'create', path: '/api/v1/nodes', body: { metadata: { name } } });
    const body = { apiVersion: 'kairos.io/v1alpha1', kind: 'KairosNode', metadata: { name } };
    const create = () => admin.request({ verb: 'create', path: '/apis/kairos.io/v1alpha1/kairosnodes', body });
    await untilDone(create, NEVER);
  }
  for (const { path, body } of TOUCHED_PODS) {
    // Refused until the namespace has its ServiceAccount.
    await insist(
      () => admin.request({ verb: 'create', path, body }),
      () => {},
      AbortSignal.timeout(30_000),
    );
  }
}

const TOUCHED_PODS = ['default', 'kube-system'].map((namespace) => ({
  path: `/api/v1/namespaces/${namespace}/pods`,
  body: {
    metadata: { name: 'touched', labels: { [STEP_LABEL]: 'test' } },
    spec: { nodeName: 'n0', containers: [{ name: 'c', image: 'i' }] },
  },
}));
const TOUCHED = [
  ...TOUCHED_PODS.map(({ path }) => `${path}/touched`),
  '/api/v1/nodes/n0',
  '/apis/kairos.io/v1alpha1/kairosnodes/n0',
];

/** Changes something, on the sound network, in every collection that is watched: quiet ones prove no contact. */
export async function touchAll({ admin }: Rig): Promise<void> {
  const body = { metadata: { labels: { touched: String(performance.now()) } } };
  await Promise.all(TOUCHED.map((path) => untilDone(() => admin.request({ verb: 'merge-patch', path, body }), NEVER)));
}

/** Repeats what may be repeated, as an activity does. Rejects when it is not done within a minute, or aborted. */
export async function untilDone<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      const again = error instanceof KubeError && (error.retryable || error.reason === 'Conflict');
      if (!again || Date.now() > deadline) throw error;
      await pause(error.retryAfterMs ?? 20, signal);
    }
  }
}

/** Whether calls end in time, and leave nothing behind at a signal that lives as long as the process. */
class CallTimes {
  calls = 0;
  longestMs = 0;
  open = 0;
  readonly #problems: string[];
  readonly #life = new AbortController();

  constructor(problems: string[]) {
    this.#problems = problems;
  }

  get listeners(): number {
    return getEventListeners(this.#life.signal, 'abort').length;
  }

  timed(client: KubeClient): KubeClient {
    return {
      ...client,
      request: async (request) => {
        const deadlineMs = Math.min(request.deadlineMs ?? Infinity, CALL_DEADLINE_MS);
        const startedAt = performance.now();
        this.open++;
        try {
          return await client.request({ signal: this.#life.signal, ...request, deadlineMs });
        } finally {
          this.open--;
          this.#note(performance.now() - startedAt, `${request.verb} ${request.path}`);
        }
      },
    };
  }

  #note(tookMs: number, call: string): void {
    this.calls++;
    this.longestMs = Math.max(this.longestMs, tookMs);
    if (tookMs > CALL_DEADLINE_MS + MARGIN_MS) this.#problems.push(`${call} took ${Math.round(tookMs)} ms`);
  }
}

/** Watches what the API server carries out, whatever the client is told: no operation, `#…#` in a body, twice. */
function carriedOutOnce(problems: string[]): (write: Forwarded) => void {
  const operations = new Set<string>();
  return ({ body, code }) => {
    const operation = /#[^#"]+#/.exec(body)?.[0];
    if (operation === undefined || code >= 300) return;
    if (operations.has(operation)) problems.push(`${operation} was carried out twice`);
    operations.add(operation);
    const [oldest] = operations;
    if (operations.size > 2000 && oldest !== undefined) operations.delete(oldest);
  };
}
