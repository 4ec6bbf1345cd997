import { describe, expect, it } from '@jest/globals';
import { nodeWorkflowID } from '../../api/messages.ts';
import type { KairosNodeStatus } from '../../api/types.ts';
import type { KubeRequest } from '../../kube/client.ts';
import { adoptNode } from '../../watcher/node-marks.ts';
import type { WatcherContext } from '../../watcher/context.ts';

const CLUSTER = { uid: 'c', id: 'kairos-c' };
const IN_PROGRESS: KairosNodeStatus = {
  upgradeState: 'InProgress',
  step: 'Reboot',
  workflowID: 'node/kairos-c/uid-old',
};

/** What is written where the Node has the UID `uid-new`. */
async function written(ownerUID: string | undefined, status: KairosNodeStatus, managed?: string) {
  const writes: [string, unknown][] = [];
  const labels = managed === undefined ? {} : { 'kairos.io/managed': managed };
  const context = {
    cluster: CLUSTER,
    nodes: { get: () => ({ name: 'n-1', uid: 'uid-new', labels }) },
    kairosNodes: { get: () => ({ name: 'n-1', status, ...(ownerUID === undefined ? {} : { ownerUID }) }) },
    client: {
      request: ({ path, body }: KubeRequest) => {
        writes.push([path.replace(/^.*\/(?=kairosnodes|nodes)/, ''), body]);
        return Promise.resolve({ metadata: { name: 'n-1', uid: 'k', resourceVersion: '1' } });
      },
    },
  } as unknown as WatcherContext;
  await adoptNode(context, 'n-1');
  return writes;
}

const owner = ['kairosnodes/n-1', { metadata: { ownerReferences: [expect.objectContaining({ uid: 'uid-new' })] } }];
const forgotten = [
  'kairosnodes/n-1/status',
  {
    status: expect.objectContaining({
      upgradeState: null,
      step: null,
      inHand: null,
      lastAttempt: null,
      conditions: null,
    }),
  },
];
const label = ['nodes/n-1', { metadata: { labels: { 'kairos.io/managed': 'true' } } }];

describe('a KairosNode is tied to its Node,', () => {
  it('which is labelled as managed', async () => {
    expect(await written(undefined, {})).toEqual([owner, label]);
    expect(await written('uid-new', {}, 'false')).toEqual([]);
  });

  it('and forgets what was done to an earlier one of that name', async () => {
    expect(await written('uid-old', IN_PROGRESS, 'true')).toEqual([forgotten, owner]);
  });

  it('but not what is being done to this one', async () => {
    const inHand = { ...IN_PROGRESS, workflowID: nodeWorkflowID(CLUSTER, { name: 'n-1', uid: 'uid-new' }) };
    expect(await written('uid-old', inHand, 'true')).toEqual([owner]);
    expect(await written('uid-new', IN_PROGRESS, 'true')).toEqual([]);
  });
});
