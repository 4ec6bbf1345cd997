import { describe, expect, it, jest } from '@jest/globals';
import type { GateAnswer } from '../../api/messages.ts';
import { startDriver } from './driver/driver.ts';
import { nodes } from './driver/inputs.ts';
import type { Answers } from './stubs.ts';

// The first one builds the workflows.
jest.setTimeout(60_000);

const go: GateAnswer = { answer: 'Go', bootID: 'boot-1' };
const left: GateAnswer = {
  answer: 'Done',
  verdict: 'Superseded',
  message: 'left to ns/newer',
  recorded: true,
  supersededBy: 'ns/newer',
};

async function rolloutOf(answers: Answers) {
  const plan = { controlPlane: nodes(2, 'cp'), workers: nodes(3), leftAlone: [], maxUnavailable: 1 };
  const world = await startDriver({ answers: { planRollout: () => plan, ...answers } });
  const result = await world.rollout({ spec: { stopOnFailure: true } }).result();
  return { result, world, written: world.script.inputs('reportRollout').at(-1)?.status };
}

describe('a node that a newer NodeOpUpgrade wants', () => {
  it('is no failure and not counted, in the control plane neither, and is named with whom it is left to', async () => {
    const shared = new Set(['cp-1', 'w-2']);
    const { result, world, written } = await rolloutOf({
      checkGates: ({ node }) => (shared.has(node.name) ? left : go),
    });
    expect(result).toEqual({
      phase: 'Completed',
      message:
        '3 of 3 nodes run v2; left to a NodeOpUpgrade that was created later: cp-1 (to ns/newer), w-2 (to ns/newer)',
      verdicts: { Succeeded: 3, Superseded: 2 },
    });
    const superseded = ['cp-1', 'w-2'].map((name) => ({ name, by: 'ns/newer' }));
    expect(written).toMatchObject({ total: 3, failed: [], superseded });
    expect(world.script.nodes('writeImage')).toEqual(['cp-2', 'w-1', 'w-3']);
    expect(world.script.nodes('settleNode')).toEqual([]);
  });

  it('is given up also while it waits for its place', async () => {
    const { result } = await rolloutOf({
      checkGates: ({ node }) => (node.name === 'w-3' ? { answer: 'Wait', reason: 'in hand' } : go),
      waitForPlace: () => ({ open: false, reason: 'left to ns/newer', supersededBy: 'ns/newer' }),
    });
    expect(result).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 4, Superseded: 1 } });
  });

  it('is like all the others: the rollout ends as Cancelled, and says so', async () => {
    const { result, written } = await rolloutOf({ checkGates: () => left });
    expect(result.phase).toBe('Cancelled');
    expect(result.message).toMatch(/^no node was touched; left to a NodeOpUpgrade that was created later: cp-1 \(to/);
    expect(written).toMatchObject({ total: 0, verdicts: { Superseded: 5 } });
  });

  it('does not count among those that were not touched where the rollout stops', async () => {
    const { result } = await rolloutOf({
      checkGates: ({ node }) => (node.name === 'cp-1' ? left : go),
      verifyNode: () => ({ verdict: 'RolledBack', message: 'fell back', bootID: 'boot-2' }),
    });
    expect(result.message).toBe(
      'stopped: node cp-2 ended as RolledBack: fell back; 3 nodes were not touched; left to a NodeOpUpgrade that was created later: cp-1 (to ns/newer)',
    );
  });
});
