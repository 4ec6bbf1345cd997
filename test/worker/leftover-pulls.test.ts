import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { KubeError } from '../../kube/errors.ts';
import { removeLeftoverPulls } from '../../worker/leftover-pulls.ts';

type View = Parameters<typeof removeLeftoverPulls>[0];

const pod = (name: string, node: string, rollout: string, step = 'pre-pull') => ({
  namespace: 'ns',
  name,
  uid: name,
  nodeName: node,
  labels: { 'kairos.io/upgrade-step': step },
  annotations: { 'kairos.io/workflow': rollout },
  deleting: false,
  containers: [],
});

const PODS = [
  pod('of-an-open-one', 'n-1', 'open'),
  pod('left', 'n-1', 'closed'),
  pod('left-on-a-held-node', 'held', 'closed'),
  pod('of-a-node-in-hand', 'in-hand', 'closed'),
  pod('of-a-node-that-is-gone', 'gone', 'closed'),
  pod('another-step', 'n-1', 'closed', 'reboot'),
];
const OWNERS: Record<string, string | undefined> = { held: 'held:Lost', 'in-hand': 'node/c/1' };

let deleted: string[];
const view = (answer: () => Promise<unknown> = () => Promise.resolve({})) =>
  ({
    pods: { values: () => PODS },
    nodes: { get: (name: string) => (name === 'gone' ? undefined : { owner: OWNERS[name] }) },
    namespaces: ['ns'],
    client: {
      request: ({ path }: { path: string }) => {
        deleted.push(path.split('/').at(-1) ?? '');
        return answer();
      },
    },
  }) as unknown as View;

beforeEach(() => {
  deleted = [];
});

describe('pre-pull pods that were left behind', () => {
  it('go where their rollout has closed and their node is in nobody’s hand; each rollout is asked for once', async () => {
    const isClosed = jest.fn((id: string) => Promise.resolve(id === 'closed'));
    const names = ['left', 'left-on-a-held-node', 'of-a-node-that-is-gone'];
    expect(await removeLeftoverPulls(view(), isClosed)).toEqual(names.map((name) => `ns/${name}`));
    expect(deleted).toEqual(names);
    expect(isClosed.mock.calls).toEqual([['open'], ['closed']]);
  });

  it('stay where Temporal does not answer', async () => {
    const away = () => Promise.reject(new Error('Temporal is away'));
    await expect(removeLeftoverPulls(view(), away)).rejects.toThrow('away');
    expect(deleted).toEqual([]);
  });

  it('are gone already: that is what is wanted', async () => {
    const gone = new KubeError('gone', { verb: 'delete', path: '/', reason: 'NotFound', retryable: false });
    await removeLeftoverPulls(
      view(() => Promise.reject(gone)),
      () => Promise.resolve(true),
    );
    expect(deleted).toHaveLength(4);
  });
});
