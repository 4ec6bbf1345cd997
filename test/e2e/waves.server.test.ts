import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NodeOpUpgradeSpec } from '../../api/types.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

const NEWEST = 'quay.io/kairos/hadron:v4.0.5';
const WORKERS = ['worker-1', 'worker-2', 'worker-3', 'worker-4', 'worker-5'];

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: WORKERS.length, images: [NEWEST] });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const upgrade = (name: string, image: string, strategy: NodeOpUpgradeSpec['strategy'], more: object = {}) =>
  stage.upgrade(name, image, WORKERS, { ...more, strategy });
const message = (name: string) => stage.status(name)?.rollout?.message ?? '';

describe('without waves', () => {
  it('one worker goes first, and when the image does not boot no other one is touched', async () => {
    stage.cluster.makeImageBad(NEW);
    const unsaid = { waves: undefined } as object;
    await upgrade('canary', NEW, { ...unsaid, maxFailed: 3, maxUnavailable: 3 });
    const status = await stage.ended('canary');

    expect(status).toMatchObject({
      phase: 'Failed',
      nodes: { total: 5, failed: 1 },
      rollout: { wave: 'canary', verdicts: { RolledBack: 1 } },
    });
    expect(status.message).toMatch(/^stopped: node worker-1 ended as RolledBack: .*; 4 nodes were not touched$/);
    expect(stage.touched).toEqual(['worker-1']);
  }, 90_000);

  it('the canary soaks for minutes, the status says until when, and a deletion does not wait for that', async () => {
    const unsaid = { waves: undefined } as object;
    await upgrade('standard', NEWER, { ...unsaid, maxUnavailable: 3 });
    await stage.until(
      'the canary soaks',
      () => message('standard'),
      (text) => text.includes('soaks'),
    );
    const until = /^wave canary soaks, until (.*Z) at the earliest$/.exec(message('standard'))?.[1] ?? '';
    expect(Date.parse(until) - Date.now()).toBeGreaterThan(4 * 60_000);
    expect(Date.parse(until) - Date.now()).toBeLessThanOrEqual(5 * 60_000);
    const workflow = await stage.temporalCLI('workflow', 'describe', '-w', stage.rolloutID('standard'));
    expect(workflow).toContain('soakWave');
    expect(stage.kairosNode('worker-1').status.observedVersion).toBe(versionIn(NEWER));
    await stage.deleteUpgrade('standard');
    const closed = () => stage.temporal.workflow.getHandle(stage.rolloutID('standard')).describe();
    await stage.until('its rollout ends', closed, ({ status }) => status.name === 'CANCELLED');
  }, 90_000);
});

describe('with waves', () => {
  it('those of a selector go first, soak anew when one reboots, and strangers take places of the budget', async () => {
    await stage.kubectl('label', 'node', 'worker-4', 'tier=edge');
    // Of the budget of two in the second wave, the control plane that somebody has cordoned takes one.
    await stage.kubectl('cordon', 'cp-1');
    await stage.until(
      'the cordon is seen',
      () => stage.node('cp-1').unschedulable,
      (cordoned) => cordoned,
    );
    stage.forgetTouched();
    const from = stage.outages.length;
    await upgrade('edge', NEWEST, {
      waves: [
        { name: 'edge', nodeSelector: { matchLabels: { tier: 'edge' } }, maxUnavailable: 2, soak: '6s' },
        { name: 'rest', maxUnavailable: '50%' },
      ],
    });
    await stage.until(
      'the first wave soaks',
      () => message('edge'),
      (text) => text.includes('soaks'),
    );
    const bootID = stage.node('worker-4').bootID;
    stage.cluster.holdDown('worker-4');
    stage.cluster.release('worker-4');
    await stage.until(
      'it is back',
      () => stage.node('worker-4'),
      (node) => node.ready && node.bootID !== bootID,
    );
    const backMs = Date.now();
    expect(stage.touched).toEqual(['worker-4']);
    await stage.until(
      'the next wave begins',
      () => stage.touched,
      (names) => names.length > 1,
    );
    expect(Date.now() - backMs).toBeGreaterThan(5_000);

    const status = await stage.ended('edge');
    await stage.kubectl('uncordon', 'cp-1');
    expect(status).toMatchObject({ phase: 'Completed', rollout: { wave: 'rest', verdicts: { Succeeded: 5 } } });
    // A mark that meets a full budget is taken back, and a worker does not wait for the pull of another one.
    expect(stage.touched[0]).toBe('worker-4');
    expect(new Set(stage.touched)).toEqual(new Set(WORKERS));
    const workersOut = stage.outages
      .slice(from)
      .map((nodes) => nodes.filter(({ controlPlane }) => !controlPlane).length);
    expect(Math.max(...workersOut)).toBe(1);
  }, 120_000);

  it('failures are counted over all of them, and beyond the budget nothing new is started', async () => {
    stage.forgetTouched();
    for (const name of ['worker-1', 'worker-3'])
      stage.cluster.machine(name).faults.upgradeFails = 'no space left on device';
    const waves = [{ name: 'first', nodes: '40%' }, { name: 'second' }];
    const strategy = { waves, maxFailed: '20%', prePull: { ahead: 1 } };
    await upgrade('counted', NEWER, strategy, { force: true, uncordonOnFailure: true });
    const status = await stage.ended('counted');

    expect(status).toMatchObject({
      phase: 'Failed',
      nodes: { failed: 2 },
      rollout: {
        wave: 'second',
        verdicts: { UpgradeFailed: 2, Succeeded: 1 },
        failed: [{ name: 'worker-1' }, { name: 'worker-3' }],
      },
    });
    expect(status.message).toMatch(
      /^stopped: 2 nodes have failed, and the failure budget of the rollout \(maxFailed\) allows 1; the last: node worker-3 ended as UpgradeFailed: .*; failed: worker-1 \(UpgradeFailed\), worker-3 \(UpgradeFailed\); 2 nodes were not touched$/s,
    );
    expect(stage.touched).toEqual(['worker-1', 'worker-2', 'worker-3']);
    await stage.cleanedUp();
  }, 120_000);
});
