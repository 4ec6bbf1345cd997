import { describe, expect, it, jest } from '@jest/globals';
import type { LateVerdict } from '../../activities/late-verdicts.ts';
import { startDriver } from './driver/driver.ts';
import { nodes } from './driver/inputs.ts';

// The first one builds the workflows.
jest.setTimeout(60_000);

const plan = { controlPlane: [], workers: nodes(3), leftAlone: [], maxUnavailable: 3 };

/** Worker 2 is lost, and its KairosNode says something else when the rollout ends. */
async function rolloutOf(late: LateVerdict[], spec: { stopOnFailure: boolean }) {
  const world = await startDriver({
    answers: {
      planRollout: () => plan,
      verifyNode: ({ node }) =>
        node.name === 'w-2'
          ? { verdict: 'Lost', message: 'is not Ready', bootID: 'boot-2' }
          : { verdict: 'Succeeded', message: 'runs v2', bootID: 'boot-2' },
      readLateVerdicts: () => late,
    },
  });
  const result = await world.rollout({ spec }).result();
  return {
    result,
    asked: world.script.inputs('readLateVerdicts'),
    written: world.script.inputs('reportRollout').at(-1),
  };
}

const back = { name: 'w-2', verdict: 'Succeeded', message: 'runs v2', failure: false } as const;

describe('a rollout that ends', () => {
  it('counts a lost node that came back meanwhile, and is complete with it', async () => {
    const { result, asked, written } = await rolloutOf([back], { stopOnFailure: false });
    expect(result).toEqual({
      phase: 'Completed',
      message: '3 of 3 nodes run v2; evidence came late: w-2 was Lost, is Succeeded',
      verdicts: { Succeeded: 3 },
    });
    expect(asked).toMatchObject([{ nodes: [{ name: 'w-2', verdict: 'Lost' }] }]);
    expect(written?.status.failed).toEqual([]);
  });

  it('names one that came back as something else by that', async () => {
    const late = { ...back, verdict: 'RolledBack', message: 'fell back', failure: true } as const;
    const { result, written } = await rolloutOf([late], { stopOnFailure: false });
    expect(result).toMatchObject({ phase: 'Failed', verdicts: { Succeeded: 2, RolledBack: 1 } });
    expect(result).toMatchObject({
      message: expect.stringMatching(/: w-2 \(RolledBack\); evidence came late: w-2 was Lost/),
    });
    expect(written?.status.failed).toEqual([{ name: 'w-2', verdict: 'RolledBack', message: 'fell back' }]);
  });

  it('stays stopped where it was stopped for it, and says what it is now', async () => {
    const { result } = await rolloutOf([back], { stopOnFailure: true });
    expect(result).toMatchObject({
      phase: 'Failed',
      message: expect.stringMatching(
        /^stopped: node w-2 ended as Lost: .*; evidence came late: w-2 was Lost, is Succeeded/,
      ),
      verdicts: { Succeeded: 3 },
    });
  });

  it('asks nothing where no node failed', async () => {
    const world = await startDriver({ answers: { planRollout: () => plan } });
    await world.rollout().result();
    expect(world.script.inputs('readLateVerdicts')).toEqual([]);
  });
});
