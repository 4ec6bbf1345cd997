import { describe, expect, it, jest } from '@jest/globals';
import type { NodeRef } from '../../api/messages.ts';
import { startDriver } from './driver/driver.ts';
import { nodes } from './driver/inputs.ts';
import { targetOf, type Answers } from './stubs.ts';

// The first one builds the workflows.
jest.setTimeout(60_000);

const plan = (workers: NodeRef[]) => ({ controlPlane: [], workers, leftAlone: [], maxUnavailable: 1 });
const message = 'node w-2 was deleted';

async function rolloutOf(workers: NodeRef[], answers: Answers) {
  const world = await startDriver({ answers: { planRollout: () => plan(workers), ...answers } });
  const result = await world.rollout({ spec: { stopOnFailure: true } }).result();
  return { result, world, written: world.script.inputs('reportRollout').at(-1) };
}

const GONE_AT: [string, Answers][] = [
  [
    'while its image was pulled',
    { prePullImage: ({ node, spec }) => (node.name === 'w-2' ? { gone: true, message } : targetOf(spec.image)) },
  ],
  [
    'before its turn',
    {
      checkGates: ({ node }) =>
        node.name === 'w-2'
          ? { answer: 'Done', verdict: 'Skipped', message, gone: true }
          : { answer: 'Go', bootID: 'boot-1' },
    },
  ],
  [
    'while it was drained',
    {
      drainNode: ({ node }) =>
        node.name === 'w-2' ? { outcome: 'Failed', message: 'no such node' } : { outcome: 'Drained' },
      endNode: ({ hand, verdict, message: said }) =>
        verdict === 'Failed'
          ? { node: hand.node.name, outcome: 'Ended', verdict: 'Skipped', message, gone: true }
          : { node: hand.node.name, outcome: 'Ended', verdict, message: said },
    },
  ],
];

describe('a node that was deleted', () => {
  it.each(GONE_AT)('%s is left out and named, and stops nobody', async (_, answers) => {
    const { result, world, written } = await rolloutOf(nodes(3), answers);
    expect(result).toEqual({
      phase: 'Completed',
      message: '2 of 2 nodes run v2; gone before their turn: w-2',
      verdicts: { Succeeded: 2 },
    });
    expect(written?.status).toMatchObject({ total: 2, failed: [] });
    expect(world.script.nodes('writeImage')).toEqual(['w-1', 'w-3']);
    expect(world.script.nodes('settleNode')).toEqual([]);
  });

  it('and was the only one leaves nothing to upgrade', async () => {
    const { result } = await rolloutOf(nodes(1), { prePullImage: () => ({ gone: true, message }) });
    expect(result).toEqual({
      phase: 'Failed',
      message: 'no node is left to upgrade; gone before their turn: w-1',
      verdicts: {},
    });
  });

  it('after its image was written is Lost, and stops the others', async () => {
    const { result, world } = await rolloutOf(nodes(3), {
      verifyNode: ({ node }) => ({ verdict: node.name === 'w-2' ? 'Lost' : 'Succeeded', message, bootID: '' }),
    });
    expect(result).toMatchObject({ phase: 'Failed', verdicts: { Succeeded: 1, Lost: 1 } });
    expect(world.script.nodes('writeImage')).toEqual(['w-1', 'w-2']);
  });
});
