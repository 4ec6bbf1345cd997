import { setTimeout as sleep } from 'node:timers/promises';
import { GOOD, NEW, versionIn } from './images.ts';
import { notOn, promise } from './invariants.ts';
import type { Scenario } from './scenario.ts';

const NODE = 'cp-1';
const NAME = 'hadron-v4.0.3';
/** What a machine takes to its first process; everything on it is down meanwhile. */
const DOWN_MS = 4_000;

/** A cluster of one node: its reboot takes API server, Temporal and the operator along. They come back and go on. */
export const singleNode: Scenario = {
  name: 'single-node',
  summary: 'one node: its reboot kills the API server, Temporal and the operator, which come back and finish',
  controlPlane: 1,
  workers: 0,
  images: GOOD,
  async play(theatre) {
    const { cluster, temporal, product } = theatre.stand;
    const { etcd, 'kube-apiserver': server, ...controllers } = cluster.controlPlane.processes;
    const parts = [product.watcher, product.worker, temporal.process, server, etcd, ...Object.values(controllers)];
    theatre.apply({ name: NAME, spec: { image: NEW, strategy: { soak: '2s' } } });
    await theatre.until('its machine goes down', () => theatre.recording(NODE).outages.length > 0 || undefined);
    theatre.say('The machine reboots. What ran on it dies with it: etcd, API server, Temporal, watcher and worker.');
    await Promise.all(parts.map((part) => part.kill('SIGKILL')));
    await sleep(DOWN_MS, undefined, { signal: theatre.signal });
    await etcd.start();
    await server.start();
    await Promise.all([...Object.values(controllers), temporal.process].map((part) => part.start()));
    await cluster.restartKwok();
    await Promise.all([product.watcher.start(), product.worker.start()]);
    theatre.say('They are back.');
    const end = await theatre.ended(NAME);
    const { boots, upgradeRuns } = theatre.recording(NODE);
    return [
      promise('the rollout is Completed', end.phase !== 'Completed' && `${end.phase}: ${end.message ?? ''}`),
      promise('the node runs the target, verified by its agent', ...notOn(theatre, [NODE], versionIn(NEW))),
      promise('it was written once', upgradeRuns.length !== 1 && `${upgradeRuns.length} times`),
      promise('it rebooted once', boots.length !== 2 && `${boots.length - 1} times`),
    ];
  },
};
