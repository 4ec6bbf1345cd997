import { setTimeout as sleep } from 'node:timers/promises';
import { STEP_LABEL } from '../../api/names.ts';
import type { KubeClient } from '../../kube/client.ts';
import { isReason } from '../../kube/errors.ts';
import { type Lane, countOnNode, countOnUpgrade, jobs, kairosNode, lease, mark, pods } from './fault-lanes.ts';
import { CALL_DEADLINE_MS, type Rig, TIMINGS, touchAll, untilDone } from './fault-rig.ts';
import type { Watchers } from './fault-watchers.ts';

const RATE = 0.3;

/** Everything that the room does, at once, through the faulty network, until so many faults were done. */
export class Storm {
  readonly #rig: Rig;
  readonly #stopping = new AbortController();
  readonly #lanes: Promise<void>[] = [];
  readonly #lease = lease(['a', 'b', 'c']);

  readonly #name: string;

  /** The name tells the objects of this storm from those of others. */
  constructor(rig: Rig, name: string) {
    this.#rig = rig;
    this.#name = name;
  }

  get leaseChanges(): number {
    return this.#lease.changes();
  }

  async start(): Promise<void> {
    const base = '/apis/operator.kairos.io/v1alpha1/namespaces/default/nodeopupgrades';
    const kind = { apiVersion: 'operator.kairos.io/v1alpha1', kind: 'NodeOpUpgrade' };
    const upgrades = this.#named('u1', 'u2');
    for (const name of upgrades)
      await this.#rig.admin.request({
        verb: 'create',
        path: base,
        body: { ...kind, metadata: { name }, spec: { image: 'i:1' } },
      });
    const lanes: [name: string, lane: Lane][] = [
      ...upgrades.map((name): [string, Lane] => [name, countOnUpgrade]),
      ...this.#named('c1', 'c2', 'c3').map((name): [string, Lane] => [name, countOnNode('n0')]),
      ...['n1', 'n2', 'n3'].map((node): [string, Lane] => [`mark-${node}`, mark(node)]),
      ...this.#named('p1', 'p2', 'p3', 'p4').map((name): [string, Lane] => [name, pods]),
      ...this.#named('j1', 'j2').map((name): [string, Lane] => [name, jobs]),
      ...['n0', 'n1'].map((node): [string, Lane] => [node, kairosNode(node)]),
      ['leader', this.#lease],
      ['churn', churn],
    ];
    this.#rig.faults.rate = RATE;
    for (const [name, lane] of lanes) this.#lanes.push(lane(this.#rig, name, this.#stopping.signal));
  }

  #named(...names: string[]): string[] {
    return names.map((name) => `${this.#name}-${name}`);
  }

  async until(faults: number, withinMs: number, onProgress?: () => void): Promise<void> {
    const deadline = performance.now() + withinMs;
    let told = Math.floor(this.#rig.faults.total / 1000);
    while (this.#rig.faults.total < faults) {
      if (performance.now() > deadline) throw new Error(`${this.#rig.faults.total} faults in ${withinMs} ms`);
      await sleep(50);
      const thousands = Math.floor(this.#rig.faults.total / 1000);
      if (thousands > told) onProgress?.();
      told = thousands;
    }
  }

  /** The network is sound from now on, and every operation is brought to its end. */
  async end(): Promise<void> {
    this.#rig.faults.rate = 0;
    this.#stopping.abort(new Error('the storm is over'));
    await Promise.all(this.#lanes);
  }
}

/** How long it takes until the watchers know what the API server has, with nothing changing any more. */
export async function catchUpMs(watchers: Watchers, withinMs: number): Promise<number> {
  const startedAt = performance.now();
  for (;;) {
    const differences = await watchers.differences();
    const tookMs = performance.now() - startedAt;
    if (differences.length === 0) return Math.round(tookMs);
    if (tookMs > withinMs) throw new Error(`not caught up after ${withinMs} ms: ${differences.join('; ')}`);
    await sleep(20);
  }
}

/** Until a dead watch is noticed: it must have been silent, then a call must have passed its deadline. */
const NOTICED_MS = TIMINGS.silenceMs + CALL_DEADLINE_MS + 2000;

/**
 * Takes the API server away, or freezes it, and gives it back. Throws when the watchers do not notice in time, or do not
 * catch up.
 */
export async function outage(
  rig: Rig,
  watchers: Watchers,
  kind: 'unreachable' | 'frozen',
): Promise<{ noticedMs: number; caughtUpMs: number }> {
  const apiServer = rig.controlPlane.processes['kube-apiserver'];
  const inContact = () => watchers.contactsMs().every((ms) => ms > 0);
  for (let tries = 0; !inContact(); tries++) {
    if (tries > 200) throw new Error(`no contact before the outage: ${watchers.contactsMs().join(', ')} ms`);
    await touchAll(rig);
    await sleep(50);
  }
  const startedAt = performance.now();
  if (kind === 'frozen') await apiServer.kill('SIGSTOP');
  else rig.proxy.down();
  try {
    while (watchers.contactsMs().some((ms) => ms > 0)) {
      if (performance.now() - startedAt > NOTICED_MS) throw new Error(`contact is believed in after ${NOTICED_MS} ms`);
      await sleep(5);
    }
    const noticedMs = Math.round(performance.now() - startedAt);
    if (kind === 'unreachable') await touchAll(rig);
    await sleep(700);
    if (watchers.contactsMs().some((ms) => ms > 0)) throw new Error('there seems to be contact before the end');
    if (kind === 'frozen') await apiServer.kill('SIGCONT');
    else rig.proxy.up();
    await touchAll(rig);
    return { noticedMs, caughtUpMs: await catchUpMs(watchers, 10_000) };
  } finally {
    await apiServer.kill('SIGCONT');
    rig.proxy.up();
  }
}

/** Others, on the sound network: objects come, change, go, and come again under their names. */
const churn: Lane = async (rig, _name, signal) => {
  const { admin, faults } = rig;
  for (let round = 0; !signal.aborted; round++) {
    const index = Math.floor(faults.random('churn') * 12);
    await changeNode(admin, `churn-${index}`, faults.random('churn'));
    await changePod(admin, round);
    await sleep(20);
  }
};

async function changeNode(admin: KubeClient, name: string, what: number): Promise<void> {
  const path = `/api/v1/nodes/${name}`;
  const body = { metadata: { annotations: { 'test/what': String(what) } } };
  try {
    if (what < 0.2) await admin.request({ verb: 'delete', path });
    else await admin.request({ verb: 'merge-patch', path, body });
  } catch (error) {
    if (!isReason(error, 'NotFound')) throw error;
    await admin.request({ verb: 'create', path: '/api/v1/nodes', body: { metadata: { name } } });
  }
}

async function changePod(admin: KubeClient, round: number): Promise<void> {
  const path = '/api/v1/namespaces/default/pods';
  const name = `churn-${round % 8}`;
  const metadata = { name, labels: { [STEP_LABEL]: 'churn' } };
  const spec = { nodeName: 'n3', containers: [{ name: 'c', image: 'i' }] };
  const remove = { verb: 'delete' as const, path: `${path}/${name}`, body: { gracePeriodSeconds: 0 } };
  await untilDone(() => admin.request(remove), AbortSignal.timeout(30_000)).catch((error: unknown) => {
    if (!isReason(error, 'NotFound')) throw error;
  });
  await untilDone(() => admin.request({ verb: 'create', path, body: { metadata, spec } }), AbortSignal.timeout(30_000));
}
