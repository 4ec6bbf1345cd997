import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { GOOD, NEW, versionIn } from './images.ts';
import { notOn, promise, writeOrder } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { NAMESPACE } from './theatre.ts';
import { WORKERS, workers } from './workers.ts';

const NAME = 'hadron-v4.0.3';
const HOSTS = ['worker-1', 'worker-2'] as const;

/** Pods that stand for Temporal's and the operator's: those that a drain leaves alone, by their label. */
const pod = (node: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `temporal-on-${node}`,
    namespace: NAMESPACE,
    labels: { 'app.kubernetes.io/part-of': 'kairos-operator' },
  },
  spec: {
    nodeName: node,
    tolerations: [{ operator: 'Exists' }],
    containers: [{ name: 'temporal', image: 'example.com/temporal:1' }],
  },
});

/** Nodes that host the operator or Temporal go last, one at a time, although their names come first. */
export const hostingNodeLast: Scenario = {
  name: 'hosting-node-last',
  summary: 'nodes that host the operator or Temporal go last, one at a time',
  controlPlane: 1,
  workers: 6,
  images: GOOD,
  async play(theatre) {
    const file = path.join(theatre.stand.folder, 'hosts.yaml');
    writeFileSync(file, HOSTS.map((node) => stringify(pod(node))).join('---\n'));
    theatre.say(`Pods of the operator run on ${HOSTS.join(' and ')}.`);
    theatre.kubectl('apply', '-f', file);
    theatre.apply({
      name: NAME,
      spec: {
        image: NEW,
        nodeSelector: WORKERS,
        strategy: { maxUnavailable: 3, soak: '1s', waves: [{ name: 'workers' }] },
      },
    });
    const end = await theatre.ended(NAME);
    const { cluster, observer } = theatre.stand;
    const last = writeOrder(cluster.recordings()).slice(-HOSTS.length);
    const isHost = (name: string) => HOSTS.some((host) => host === name);
    const together = observer.moments.filter(({ workers: out }) => out.some(isHost) && out.length > 1);
    return [
      promise('the rollout is Completed', end.phase !== 'Completed' && `${end.phase}: ${end.message ?? ''}`),
      promise(`every worker runs ${versionIn(NEW)}`, ...notOn(theatre, workers(6), versionIn(NEW))),
      promise('the hosts were written last', ...last.filter((name) => !isHost(name))),
      promise(
        'a host was never out together with another worker',
        ...together.map(({ workers: out }) => out.join(', ')),
      ),
    ];
  },
};
