import { describe, expect, it } from '@jest/globals';
import { endNode } from '../../activities/end.ts';
import type { Verdict } from '../../api/types.ts';
import { KubeError } from '../../kube/errors.ts';
import type { KubeRequest } from '../../kube/client.ts';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { HAND } from './step-world.ts';

const NODE = { name: 'n-1', uid: 'uid-1', resourceVersion: '7' };

interface There {
  /** What the watches show of the node. */
  seen?: { node?: object; status?: object };
  /** The UID of the Node that has the name now; undefined: there is none. */
  uid?: string;
  /** The UID of the Node that owns the KairosNode. */
  ownerUID?: string;
}

const pod = (name: string, step: string, more: object = {}) => ({
  name,
  namespace: 'ns',
  uid: name,
  labels: { 'kairos.io/upgrade-step': step },
  annotations: { 'kairos.io/node-name': 'n-1', 'kairos.io/node-uid': 'uid-1' },
  deleting: false,
  containers: [{ running: true }],
  ...more,
});
const WRITER = pod('writer', 'upgrade', { owner: { kind: 'Job', name: 'job-1', uid: 'j' } });
const OF_ANOTHER = { annotations: { 'kairos.io/node-name': 'n-1', 'kairos.io/node-uid': 'uid-2' } };

/** Ends a node, and tells what was written and deleted. */
async function end(verdict: Verdict, { uid, ownerUID = 'uid-1', seen = {} }: There) {
  const requests: string[] = [];
  const reads: string[] = [];
  const node = { metadata: { ...NODE, uid, annotations: { 'kairos.io/upgrade-owner': HAND.workflowID } } };
  const view = {
    ref: HAND.cluster,
    namespaces: ['ns'],
    nodePods: { forget: () => undefined },
    nodes: { get: () => (uid === undefined ? undefined : { uid, name: 'n-1', ...seen.node }) },
    kairosNodes: { get: () => ({ generation: 1, ownerUID, status: seen.status ?? {} }) },
    pods: { values: () => [WRITER, pod('reboot', 'reboot'), pod('of-another', 'pre-pull', OF_ANOTHER)] },
    client: {
      request: ({ verb, path }: KubeRequest) => {
        const what = path.split('/').slice(-2).join('/');
        if (verb === 'get') reads.push(what);
        else requests.push(`${verb} ${what.replace(/-[0-9a-f]{16}$/, '')}`);
        if (what === 'nodes/n-1' && uid === undefined)
          throw new KubeError('no such node', { verb, path, reason: 'NotFound', retryable: false });
        return Promise.resolve(
          what === 'nodes/n-1' ? node : { metadata: { name: 'n-1', uid: 'k', resourceVersion: '1' } },
        );
      },
    },
  } as unknown as ClusterView;
  return { result: await endNode(view, { hand: HAND, verdict, message: 'm' }), requests: requests.toSorted(), reads };
}

const OURS = ['delete jobs/job-1', 'delete pods/reboot'];
const JOBS = ['delete jobs/kairos-recovery-n-1', 'delete jobs/kairos-upgrade-n-1'];

describe('a node that ends', () => {
  it('goes back to service, without what is still writing or for another node of its name', async () => {
    const { result, requests } = await end('Succeeded', { uid: 'uid-1' });
    expect(result).toMatchObject({ verdict: 'Succeeded' });
    expect(requests).toEqual(['delete pods/reboot', 'merge-patch n-1/status', 'merge-patch nodes/n-1']);
  });

  it('and was deleted is recorded, as long as its KairosNode is there, and nothing of ours is left', async () => {
    const { result, requests } = await end('Lost', {});
    expect(result).toMatchObject({ verdict: 'Lost', message: 'm' });
    expect(requests).toEqual([...OURS, ...JOBS, 'merge-patch n-1/status'].toSorted());
  });

  it('and was replaced leaves the new one, its pods and its KairosNode alone', async () => {
    const { requests } = await end('Lost', { uid: 'uid-2', ownerUID: 'uid-2' });
    expect(requests).toEqual([...OURS, ...JOBS].toSorted());
  });

  it('and went before its image was touched is no failure', async () => {
    const { result, requests } = await end('Failed', {});
    expect(result).toEqual({
      node: 'n-1',
      outcome: 'Ended',
      verdict: 'Skipped',
      gone: true,
      message: expect.stringMatching(/^node n-1 was deleted, or another one has its name now: .* it was not touched$/),
    });
    expect(requests).not.toContain('merge-patch n-1/status');
  });

  const WRITES = [{ step: 'upgrade', bootID: 'boot-1', exitCode: 0 }];
  const { workflowID, startedAt } = HAND;
  const status = { workflowID, upgradeState: 'InProgress', step: 'Soak', inHand: { startedAt, writes: WRITES } };
  const node = { owner: workflowID, resourceVersion: '7' };

  it('is ended by what the watches show, where that is enough', async () => {
    const { result, reads, requests } = await end('Succeeded', { uid: 'uid-1', seen: { node, status } });
    expect(result).toMatchObject({ verdict: 'Succeeded', writes: [{ step: 'upgrade' }] });
    expect(reads).toEqual([]);
    expect(requests).toContain('merge-patch nodes/n-1');
  });

  it.each([
    ['a step before the end of the write', { ...status, step: 'Upgrade' }],
    ['another attempt', { ...status, inHand: { ...status.inHand, startedAt: '2026-02-01T10:00:00Z' } }],
    ['another workflow', { ...status, workflowID: 'node/kairos-c/other' }],
  ])('is read anew where the watch shows %s', async (_, shown) => {
    const { reads } = await end('Succeeded', { uid: 'uid-1', seen: { node, status: shown } });
    expect(reads).toEqual(['kairosnodes/n-1']);
  });

  it('leaves no pod that the watch has not shown yet', async () => {
    const { requests } = await end('Succeeded', { uid: 'uid-1', seen: { node, status } });
    expect(requests).toContain('delete pods/kairos-reboot-n-1');
  });
});
