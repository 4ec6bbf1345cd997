import { setTimeout as sleep } from 'node:timers/promises';
import { GOOD, NEW, versionIn } from './images.ts';
import { notOn, promise } from './invariants.ts';
import type { Scenario } from './scenario.ts';

const NAME = 'hadron-v4.0.3';
const DEAD = 'cp-3';
const WATCHED_MS = 10_000;

/** One of three control-plane nodes is dead: taking another one would lose the majority of etcd, so nothing is taken. */
export const controlPlaneQuorum: Scenario = {
  name: 'control-plane-quorum',
  summary: 'one of three control-plane nodes is down: none of the others is taken until it is back',
  controlPlane: 3,
  workers: 2,
  images: GOOD,
  async play(theatre) {
    const { cluster, observer } = theatre.stand;
    const members = ['cp-1', 'cp-2', 'cp-3'];
    cluster.holdDown(DEAD);
    theatre.say(`The power of ${DEAD} is cut.`);
    await theatre.until(`${DEAD} is NotReady`, () => !theatre.node(DEAD).ready || undefined);
    theatre.apply({ name: NAME, spec: { image: NEW, strategy: { soak: '1s', waves: [{ name: 'workers' }] } } });
    await theatre.until(
      'the rollout runs',
      () => theatre.upgrade(NAME)?.status?.rollout?.phase === 'Running' || undefined,
    );
    const gate = await theatre.until('a control-plane node waits at a gate', () =>
      members
        .map((name) => theatre.kairosNode(name).status)
        .map(({ step, message }) => (step === 'Gate' ? message : undefined))
        .find((message) => message !== undefined),
    );
    theatre.say(gate);
    await sleep(WATCHED_MS, undefined, { signal: theatre.signal });
    const touched = [...observer.nodes.values()].filter(
      ({ owner, unschedulable }) => owner !== undefined || unschedulable,
    );
    const written = cluster.recordings().filter(({ upgradeRuns }) => upgradeRuns.length > 0);
    theatre.say(`${DEAD} has power again.`);
    cluster.release(DEAD);
    const end = await theatre.ended(NAME);
    return [
      promise(
        `while ${DEAD} was down no node was taken`,
        ...touched.map(({ name }) => name),
        ...written.map(({ node }) => node),
      ),
      promise(`the gate names ${DEAD}`, !gate.includes(DEAD) && gate),
      promise('afterwards the rollout is Completed', end.phase !== 'Completed' && `${end.phase}: ${end.message ?? ''}`),
      promise(`every node runs ${versionIn(NEW)}`, ...notOn(theatre, cluster.nodes(), versionIn(NEW))),
    ];
  },
};
