import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Verdict } from '../../api/types.ts';
import { NEW, startStage, versionIn, type Stage } from './stage.ts';
import { PATIENT, verdictCases } from './verdict-cases.ts';

const VERSION = String.raw`v4\.0\.3-k3sv1\.33\.9\+k3s1`;
const OLD_VERSION = String.raw`v4\.0\.2-k3sv1\.33\.9\+k3s1`;

let stage: Stage;
const machine = (node: string) => stage.cluster.machine(node);
const CASES = verdictCases(() => stage);
const nodes = Object.keys(CASES).length;
const meanwhiles: Promise<unknown>[] = [];

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: nodes });
  await Promise.all(Object.values(CASES).map(async ({ before }) => before?.()));
  for (const [name, { node, image = NEW, strategy = PATIENT, meanwhile }] of Object.entries(CASES)) {
    // Nodes that are held count against the budgets of all.
    await stage.upgrade(name, image, [node], { strategy: { maxUnavailable: nodes + 1, ...strategy } });
    if (meanwhile !== undefined) meanwhiles.push(meanwhile());
  }
  for (const running of meanwhiles) running.catch(() => undefined);
}, 90_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

interface Expected {
  verdict: Verdict;
  message: RegExp;
  /** Whether the node is back in service; where not, it is held for that verdict. */
  back: boolean;
  upgradeState: string;
}

/** What the NodeOpUpgrade, the KairosNode and the Node say once the rollout has ended. */
async function expectEnd(name: string, { verdict, message, back, upgradeState }: Expected): Promise<void> {
  const { node = '' } = CASES[name] ?? {};
  const status = await stage.ended(name);
  const succeeded = verdict === 'Succeeded';
  expect({ phase: status.phase, verdicts: status.rollout?.verdicts }).toEqual({
    phase: succeeded ? 'Completed' : 'Failed',
    verdicts: { [verdict]: 1 },
  });
  expect(status.rollout?.failed ?? []).toEqual(
    succeeded ? [] : [{ name: node, verdict, message: expect.stringMatching(message) }],
  );
  expect(stage.kairosNode(node).status).toMatchObject({
    upgradeState,
    message: expect.stringMatching(new RegExp(`^${verdict}: .*${message.source}`, 's')),
    lastAttempt: { verdict, message: expect.stringMatching(message) },
  });
  const { owner, unschedulable } = stage.node(node);
  expect({ owner, unschedulable }).toEqual(
    back ? { owner: undefined, unschedulable: false } : { owner: `held:${verdict}`, unschedulable: true },
  );
}

const slotsBooted = (node: string) => machine(node).boots.map(({ slot: booted }) => booted);

describe('a node that runs the target from its new boot', () => {
  it('is Succeeded, and AlreadyOnTarget for the next rollout', async () => {
    const end = { message: new RegExp(`runs ${VERSION}, proven by the stamp`), back: true, upgradeState: 'Completed' };
    await expectEnd('succeeded', { verdict: 'Succeeded', ...end });
    const { lastAttempt } = stage.kairosNode('worker-1').status;
    expect(lastAttempt?.evidence).toEqual({
      bootID: machine('worker-1').bootID,
      ready: true,
      by: 'agent',
      bootState: 'active',
      version: versionIn(NEW),
      stamp: 'matches',
      at: expect.any(String),
    });
    const steps = ['Mark', 'Cordon', 'Drain', 'Upgrade', 'Reboot', 'Verify', 'Soak'];
    expect(lastAttempt?.steps?.map(({ step }) => step)).toEqual(steps);
    const { startedAt = '', finishedAt = '' } = lastAttempt ?? {};
    const times = [startedAt, ...(lastAttempt?.steps ?? []).map((one) => one.startedAt), finishedAt];
    expect(times.toSorted()).toEqual(times);
    await stage.upgrade('again', NEW, ['worker-1'], { strategy: { maxUnavailable: nodes + 1 } });
    const status = await stage.ended('again');
    expect(status.phase).toBe('Completed');
    expect(status.rollout?.verdicts).toEqual({ AlreadyOnTarget: 1 });
    expect(stage.kairosNode('worker-1').status.observedVersion).toBe(versionIn(NEW));
    expect(slotsBooted('worker-1')).toEqual(['active', 'active']);
  }, 120_000);

  it('is Succeeded where a pod had to read it, since its agent was silent', async () => {
    await expectEnd('no-agent', {
      verdict: 'Succeeded',
      message: new RegExp(`runs ${VERSION}, proven by the stamp of this upgrade; read by a pod on node worker-10`),
      back: true,
      upgradeState: 'Completed',
    });
    const { bootID, lastAttempt } = stage.kairosNode('worker-10').status;
    expect(lastAttempt?.evidence).toMatchObject({ by: 'pod', stamp: 'matches', bootID: machine('worker-10').bootID });
    expect(bootID).toBe(machine('worker-10').boots[0]?.bootID);
  }, 120_000);

  it('is Succeeded where its shutdown hung, and was forced', async () => {
    const end = { message: /proven by the stamp/, back: true, upgradeState: 'Completed' };
    await expectEnd('hangs', { verdict: 'Succeeded', ...end });
    expect(slotsBooted('worker-7')).toEqual(['active', 'active']);
  }, 120_000);
});

describe('a node that fell back is RolledBack, and serves', () => {
  it('from its passive image', async () => {
    await expectEnd('passive', {
      verdict: 'RolledBack',
      message: new RegExp(
        `node worker-2 fell back to its passive image and runs ${OLD_VERSION}; find out on its console`,
      ),
      back: true,
      upgradeState: 'RolledBack',
    });
    expect(slotsBooted('worker-2')).toEqual(['active', 'passive']);
  }, 120_000);

  it('from its recovery system', async () => {
    await expectEnd('recovery', {
      verdict: 'RolledBack',
      message: new RegExp(`node worker-3 fell back to its recovery system and runs ${OLD_VERSION}`),
      back: true,
      upgradeState: 'RolledBack',
    });
    expect(slotsBooted('worker-3')).toEqual(['active', 'recovery']);
  }, 120_000);
});

describe('a node that serves with something else is WrongVersion', () => {
  it('by its version', async () => {
    await expectEnd('other-version', {
      verdict: 'WrongVersion',
      message: new RegExp(`node worker-4 runs ${OLD_VERSION}, wanted ${VERSION} from its active image: compare`),
      back: true,
      upgradeState: 'Failed',
    });
  }, 120_000);

  it('by its stamp', async () => {
    await expectEnd('other-stamp', {
      verdict: 'WrongVersion',
      message: new RegExp(
        `node worker-5 runs ${VERSION}, but from an image that another upgrade wrote .*a-boot-before`,
      ),
      back: true,
      upgradeState: 'Failed',
    });
  }, 120_000);
});

describe('a node of which something never comes', () => {
  it('is NeverRebooted where it serves in its old boot; it is never forced', async () => {
    await expectEnd('no-reboot', {
      verdict: 'NeverRebooted',
      message: /node worker-6 did not reboot within 10s and still is in boot .*: .*reboot the node, then free it/,
      back: false,
      upgradeState: 'Failed',
    });
    expect(slotsBooted('worker-6')).toEqual(['active']);
    expect(machine('worker-6').writes).toHaveLength(1);
  }, 120_000);

  it('is Lost where it does not come back', async () => {
    await expectEnd('gone', {
      verdict: 'Lost',
      message: /node worker-8 is not Ready 10s after its reboot was asked for; .* also after a forced reboot .*console/,
      back: false,
      upgradeState: 'Failed',
    });
  }, 120_000);

  it('is Lost at once where it was deleted', async () => {
    const status = await stage.ended('deleted');
    expect(status.phase).toBe('Failed');
    expect(status.rollout?.failed).toEqual([
      {
        name: 'worker-9',
        verdict: 'Lost',
        message: expect.stringMatching(/node worker-9 was deleted during its upgrade: look at the machine/),
      },
    ]);
  }, 120_000);

  it('is Unverified where neither its agent nor a pod can say what it runs', async () => {
    await expectEnd('unreadable', {
      verdict: 'Unverified',
      message:
        /node worker-11 is Ready in the new boot .*, but its agent last reported from boot .* within 10s: look at the agent's pod on the node; a pod .* read no Kairos release; it said: boot-id /,
      back: false,
      upgradeState: 'Failed',
    });
  }, 120_000);
});

describe('a node whose image was not written', () => {
  it.each([
    ['agent-fails', 'worker-12', /kairos-agent upgrade ended with 1: .*no space left on device\. A slot may be half/s],
    ['out-of-memory', 'worker-13', /kairos-agent upgrade was killed by the kernel for want of memory \(OOMKilled/],
  ])(
    'is UpgradeFailed and not rebooted: %s',
    async (name, node, message) => {
      await expectEnd(name, { verdict: 'UpgradeFailed', message, back: false, upgradeState: 'Failed' });
      expect(slotsBooted(node)).toEqual(['active']);
    },
    120_000,
  );

  it('is Failed where its drain did not end, and serves', async () => {
    await expectEnd('drain', {
      verdict: 'Failed',
      message: /held by PodDisruptionBudget held-on-worker-14/,
      back: true,
      upgradeState: 'Failed',
    });
    expect(machine('worker-14').writes).toEqual([]);
  }, 120_000);

  it('is Cancelled where that came before, and serves', async () => {
    const status = await stage.ended('cancelled');
    expect({ phase: status.phase, verdicts: status.rollout?.verdicts }).toEqual({
      phase: 'Cancelled',
      verdicts: { Cancelled: 1 },
    });
    expect(stage.kairosNode('worker-15').status).toMatchObject({
      upgradeState: 'Idle',
      lastAttempt: { verdict: 'Cancelled', message: expect.stringMatching(/before its image was touched/) },
    });
    expect(stage.node('worker-15')).toMatchObject({ unschedulable: false });
    expect(machine('worker-15').writes).toEqual([]);
  }, 120_000);

  it('is Skipped where it waited in vain, and stays as it was', async () => {
    const status = await stage.ended('skipped');
    expect(status.rollout?.failed).toEqual([
      {
        name: 'worker-16',
        verdict: 'Skipped',
        message: expect.stringMatching(/worker-16 is cordoned by somebody else since \S+: kubectl uncordon worker-16/),
      },
    ]);
    expect(stage.kairosNode('worker-16').status.lastAttempt).toBeUndefined();
    expect(stage.node('worker-16')).toMatchObject({ unschedulable: true });
  }, 120_000);
});

it('every image was written at most once, and nothing of ours is left on the nodes', async () => {
  await Promise.all(meanwhiles);
  for (const { node, upgradeRuns } of stage.cluster.recordings())
    expect({ node, runs: upgradeRuns.length <= 1 }).toEqual({ node, runs: true });
  await stage.cleanedUp();
});
