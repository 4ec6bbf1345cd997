import { describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { IdleAgents } from '../../activities/idle-agents.ts';
import type { NodeView } from '../../kube/nodes.ts';

const NODE = { name: 'n-1', uid: 'uid-1' } as NodeView;
const signal = new AbortController().signal;

const pod = (name: string, ready: boolean, extra: object = {}) => ({
  metadata: { name, uid: name, labels: { 'app.kubernetes.io/name': name.replace(/-\d+$/, '') }, ...extra },
  spec: { nodeName: NODE.name },
  status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
});

/** One look after the other; each finds these pods (or an error) and, afterwards, these KairosNodes. */
async function afterLooks(...looks: { pods: object[] | Error; reports?: string[] }[]): Promise<boolean> {
  let now = looks[0] ?? { pods: [] };
  const view = {
    client: {
      request: () =>
        now.pods instanceof Error ? Promise.reject(now.pods) : Promise.resolve({ metadata: {}, items: now.pods }),
    },
    kairosNodes: { get: (name: string) => (now.reports?.includes(name) === true ? {} : undefined) },
  } as unknown as ClusterView;
  const idle = new IdleAgents(view);
  for (const look of looks) {
    now = look;
    await idle.look([NODE], signal);
  }
  return idle.has(NODE);
}

const agent = pod('kairos-agent-1', true);

describe('a node is idle', () => {
  it('when its agent is Ready twice in a row without a report', async () => {
    expect(await afterLooks({ pods: [agent] }, { pods: [pod('web-1', true), agent] })).toBe(true);
  });

  it.each([
    ['it was Ready once', [{ pods: [agent] }]],
    ['its report came with the second look', [{ pods: [agent] }, { pods: [agent], reports: ['n-1'] }]],
    [
      'its agent was not Ready in between',
      [{ pods: [agent] }, { pods: [pod('kairos-agent-1', false)] }, { pods: [agent] }],
    ],
    ['its pods could not be read in between', [{ pods: [agent] }, { pods: new Error('away') }, { pods: [agent] }]],
    ['only other pods are Ready', [{ pods: [pod('web-1', true)] }, { pods: [pod('web-1', true)] }]],
    [
      'its agent is on its way out',
      [1, 2].map(() => ({ pods: [pod('kairos-agent-1', true, { deletionTimestamp: '2026-03-01T10:00:00Z' })] })),
    ],
  ])('but not when %s', async (_, looks) => {
    expect(await afterLooks(...looks)).toBe(false);
  });
});
