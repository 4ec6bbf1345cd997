import { describe, expect, it, jest } from '@jest/globals';
import type { GateAnswer } from '../../api/messages.ts';
import { startDriver } from './driver/driver.ts';
import { nodes } from './driver/inputs.ts';
import { targetOf, type Answers } from './stubs.ts';

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

  it('is left before anything is pulled on it', async () => {
    const { result, world } = await rolloutOf({
      prePullImage: ({ node, spec }) =>
        node.name === 'w-2' ? { supersededBy: 'ns/newer', message: 'left to ns/newer' } : targetOf(spec.image),
    });
    expect(result).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 4, Superseded: 1 } });
    expect(result.message).toContain('w-2 (to ns/newer)');
    expect(world.script.nodes('checkGates')).not.toContain('w-2');
  });
});

describe('a budget that others have taken', () => {
  it('ends the rollout at the first node that has waited for it in vain, whatever may fail', async () => {
    const reason = 'waited for its place in vain: budget taken: out are w-9';
    const { result, world } = await rolloutOf({
      planRollout: () => ({
        controlPlane: [],
        workers: nodes(3),
        leftAlone: [],
        maxUnavailable: 1,
        maxFailed: 3,
        waves: [{ name: 'workers', group: 'worker', nodes: nodes(3), budget: 1 }],
      }),
      checkGates: () => ({ answer: 'Wait', reason: 'budget taken' }),
      waitForPlace: () => ({ open: false, reason, stop: 'BudgetTaken: out are w-9' }),
    });
    expect(result).toEqual({
      phase: 'Failed',
      message: 'stopped: BudgetTaken: out are w-9; 2 nodes were not touched',
      verdicts: { Skipped: 1 },
    });
    expect(world.script.nodes('waitForPlace')).toEqual(['w-1']);
  });
});
