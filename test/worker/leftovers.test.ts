import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { KubeError } from '../../kube/errors.ts';
import { clearLeftoverGates, removeLeftoverJobs, removeLeftoverPods } from '../../worker/leftovers.ts';

type View = Parameters<typeof removeLeftoverPods>[0];

const meta = (name: string, node: string, rollout: string, step: string, uid = `${node}-uid`) => ({
  namespace: 'ns',
  name,
  uid: name,
  labels: { 'kairos.io/upgrade-step': step },
  annotations: { 'kairos.io/workflow': rollout, 'kairos.io/node-name': node, 'kairos.io/node-uid': uid },
});
const pod = (name: string, node: string, rollout: string, step = 'pre-pull', uid?: string) => ({
  ...meta(name, node, rollout, step, uid),
  nodeName: node,
  deleting: false,
  containers: [{ running: true }],
});

const PODS = [
  pod('of-an-open-one', 'n-1', 'open'),
  pod('left', 'n-1', 'closed'),
  pod('left-on-a-held-node', 'held', 'closed'),
  pod('of-a-node-in-hand', 'in-hand', 'closed'),
  pod('of-a-node-that-is-gone', 'gone', 'closed'),
  pod('left-reboot', 'n-1', 'closed', 'reboot'),
  pod('of-an-open-workflow', 'n-2', 'closed', 'reboot'),
  pod('writer', 'n-1', 'closed', 'upgrade'),
  pod('writer-of-another-node', 'in-hand', 'closed', 'upgrade', 'earlier-uid'),
];
const JOBS = [
  meta('job-of-a-node-that-is-there', 'n-1', 'closed', 'upgrade'),
  meta('job-of-a-node-that-is-gone', 'gone', 'closed', 'upgrade'),
  meta('job-of-a-node-that-was-replaced', 'in-hand', 'closed', 'upgrade', 'earlier-uid'),
  meta('job-of-an-open-one', 'gone', 'open', 'upgrade'),
];
const OWNERS: Record<string, string | undefined> = { held: 'held:Lost', 'in-hand': 'node/c/1' };

const gate = (name: string, rollout: string, more: object = {}) => ({
  name,
  resourceVersion: '1',
  status: { step: 'Gate', message: 'waits', rollout, ...more },
});
const GATES = [
  gate('waits', 'open'),
  gate('left', 'closed'),
  gate('in-hand', 'closed', { step: 'Soak', upgradeState: 'InProgress' }),
];

let deleted: string[];
const DONE = { metadata: { name: 'n', uid: 'u', resourceVersion: '2' } };
const view = (answer: () => Promise<unknown> = () => Promise.resolve(DONE)) =>
  ({
    ref: { id: 'c', uid: 'c' },
    pods: { values: () => PODS },
    nodes: {
      get: (name: string) => (name === 'gone' ? undefined : { uid: `${name}-uid`, owner: OWNERS[name] }),
    },
    kairosNodes: { values: () => GATES },
    namespaces: ['ns'],
    client: {
      request: ({ verb, path }: { verb: string; path: string }) => {
        if (verb === 'list')
          return Promise.resolve({
            metadata: { resourceVersion: '1' },
            items: JOBS.map(({ ...metadata }) => ({ metadata: { ...metadata, resourceVersion: '1' } })),
          });
        deleted.push(path.split('/').at(-1) ?? '');
        return answer();
      },
    },
  }) as unknown as View;
const open = new Set(['open', 'node/c/n-2-uid']);
const isClosed = (id: string) => Promise.resolve(!open.has(id));

beforeEach(() => {
  deleted = [];
});

describe('pods that were left behind', () => {
  it('go where their rollout has closed and their node is in nobody’s hand; each workflow is asked for once', async () => {
    const asked = jest.fn(isClosed);
    const names = ['left', 'left-on-a-held-node', 'of-a-node-that-is-gone', 'left-reboot', 'writer-of-another-node'];
    expect(await removeLeftoverPods(view(), asked)).toEqual(names.map((name) => `ns/${name}`));
    expect(deleted).toEqual(names);
    expect(new Set(asked.mock.calls.map(([id]) => id)).size).toBe(asked.mock.calls.length);
  });

  it('stay where Temporal does not answer', async () => {
    const away = () => Promise.reject(new Error('Temporal is away'));
    await expect(removeLeftoverPods(view(), away)).rejects.toThrow('away');
    expect(deleted).toEqual([]);
  });

  it('are gone already: that is what is wanted', async () => {
    const gone = new KubeError('gone', { verb: 'delete', path: '/', reason: 'NotFound', retryable: false });
    await removeLeftoverPods(
      view(() => Promise.reject(gone)),
      isClosed,
    );
    expect(deleted).toHaveLength(5);
  });
});

describe('Jobs that were left behind', () => {
  it('go where their node is gone or another one, and nobody is left to remove them', async () => {
    const names = ['job-of-a-node-that-is-gone', 'job-of-a-node-that-was-replaced'];
    expect(await removeLeftoverJobs(view(), isClosed)).toEqual(names.map((name) => `ns/${name}`));
    expect(deleted).toEqual(names);
  });

  it('stay where Temporal does not answer', async () => {
    const away = () => Promise.reject(new Error('Temporal is away'));
    await expect(removeLeftoverJobs(view(), away)).rejects.toThrow('away');
    expect(deleted).toEqual([]);
  });
});

describe('gates of KairosNodes at which nobody waits any more', () => {
  it('are taken back where the rollout that waited has closed', async () => {
    expect(await clearLeftoverGates(view(), isClosed)).toEqual(['left']);
    expect(deleted).toEqual(['status']);
  });

  it('are left where somebody else has written meanwhile', async () => {
    const changed = new KubeError('changed', { verb: 'merge-patch', path: '/', reason: 'Conflict', retryable: false });
    expect(
      await clearLeftoverGates(
        view(() => Promise.reject(changed)),
        isClosed,
      ),
    ).toEqual([]);
  });
});
