import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Slot } from '../../sim/grub.ts';
import { kairosImage } from '../../sim/images.ts';
import { NEW, NEWER, OLD, startStage, versionIn, type Stage } from './stage.ts';

const REPOSITORY = 'quay.io/kairos/hadron-uki';
const signed = (version: string) => `${REPOSITORY}:${version}`;
const [FIRST, SECOND, THIRD, BAD, UNSIGNED] = ['v4.0.2', 'v4.0.3', 'v4.0.4', 'v4.0.5', 'v4.0.6'].map(signed) as [
  string,
  string,
  string,
  string,
  string,
];
const image = (reference: string, more: { boots?: boolean; unsigned?: boolean } = {}) =>
  kairosImage(reference, reference.split(':')[1] ?? '', { trustedBoot: true, ...more });

let stage: Stage;

beforeAll(async () => {
  const images = [
    ...[FIRST, SECOND, THIRD].map((reference) => image(reference)),
    image(BAD, { boots: false }),
    image(UNSIGNED, { unsigned: true }),
  ];
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 1, images });
  for (const name of ['uki-1', 'uki-2']) await stage.cluster.addNode({ name, image: FIRST });
  const report = () => stage.kairosNodes.get('uki-2')?.status.bootID;
  await stage.until('the agents of both have reported', report, (bootID) => bootID !== undefined);
}, 90_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

/** The version in a slot of a machine; undefined where the slot holds nothing. */
function inSlot(node: string, slot: Slot): string | undefined {
  const file = path.join(stage.cluster.machine(node).disk.slotFolder(slot), 'etc/kairos-release');
  return existsSync(file) ? /^KAIROS_VERSION="(.*)"$/m.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
}
const slots = (node: string) => [inSlot(node, 'active'), inSlot(node, 'passive'), inSlot(node, 'recovery')];
const lastAttempt = (node: string) => stage.kairosNode(node).status.lastAttempt;
const RECOVERY_ONLY = { upgradeActive: false, upgradeRecovery: true };

describe('a machine with trusted boot', () => {
  it('is upgraded by its own agent from the signed files, and judged by the entry on trial', async () => {
    expect(stage.kairosNode('uki-1').status).toMatchObject({ trustedBoot: true, bootState: 'active' });
    await stage.upgrade('signed', SECOND, ['uki-1']);
    expect(await stage.ended('signed')).toMatchObject({ phase: 'Completed', rollout: { verdicts: { Succeeded: 1 } } });

    expect(slots('uki-1')).toEqual(['v4.0.3', 'v4.0.2', 'v4.0.2']);
    expect(stage.kairosNode('uki-1').status).toMatchObject({
      observedVersion: versionIn(SECOND),
      bootState: 'active',
      trustedBoot: true,
      loaderEntry: 'active+3.conf',
    });
    expect(stage.kairosNode('uki-1').status.stamp).toBeUndefined();
    expect(lastAttempt('uki-1')).toMatchObject({
      verdict: 'Succeeded',
      message: expect.stringContaining('on trial as a new one: active+3.conf'),
      writes: [
        { step: 'upgrade', exitCode: 0, reason: 'Completed', logTail: expect.stringMatching(/Upgrade completed$/) },
      ],
    });
    expect(stage.recording('uki-1').upgradeRuns).toHaveLength(1);
    await stage.cleanedUp();
  }, 90_000);

  it('falls back from an image that does not boot, after three tries, and its passive entry is not overwritten', async () => {
    await stage.upgrade('unbootable', BAD, ['uki-1']);
    const { rollout } = await stage.ended('unbootable');
    expect(rollout?.failed).toMatchObject([{ name: 'uki-1', verdict: 'RolledBack' }]);
    expect(slots('uki-1')).toEqual(['v4.0.5', 'v4.0.3', 'v4.0.2']);
    const console_ = readFileSync(path.join(stage.cluster.machine('uki-1').folder, 'console.log'), 'utf8');
    const started = console_.split('\n').filter((line) => line.startsWith('systemd-boot: starting'));
    expect(started.slice(-4).map((line) => line.split(' ').at(-1))).toEqual([
      'active+3.conf',
      'active+2-1.conf',
      'active+1-2.conf',
      'passive+3.conf',
    ]);
    expect(stage.node('uki-1')).toMatchObject({ ready: true, unschedulable: false });

    // kairos-agent would put the image that failed in the place of the one that runs.
    stage.forgetTouched();
    await stage.upgrade('mended', THIRD, ['uki-1']);
    const again = await stage.ended('mended');
    expect(again.rollout?.failed).toMatchObject([
      {
        name: 'uki-1',
        verdict: 'Failed',
        message: expect.stringContaining('kairos-agent upgrade --boot-entry active'),
      },
    ]);
    expect(stage.touched).toEqual([]);
    expect(slots('uki-1')).toEqual(['v4.0.5', 'v4.0.3', 'v4.0.2']);
    expect(stage.recording('uki-1').upgradeRuns).toHaveLength(2);
  }, 120_000);

  it.each<[string, string, string, object, RegExp]>([
    ['an image without signed files', 'unsigned', UNSIGNED, {}, /lacks \/trusted-boot with the signed EFI files/],
    ['paths to leave out', 'excludes', SECOND, { excludePaths: ['/etc/x'] }, /take spec\.excludePaths away/],
  ])(
    'is refused %s before anything is disrupted',
    async (_, name, reference, spec, message) => {
      stage.forgetTouched();
      await stage.upgrade(name, reference, ['uki-2'], spec);
      const { rollout } = await stage.ended(name);
      expect(rollout?.phase).toBe('Failed');
      const failed = rollout?.failed?.[0]?.message ?? '';
      expect(`${failed} ${rollout?.message ?? ''}`).toMatch(message);
      expect(stage.touched).toEqual([]);
      expect(stage.recording('uki-2').upgradeRuns).toEqual([]);
    },
    60_000,
  );
});

describe('the recovery image alone', () => {
  const writes = (node: string) => stage.cluster.machine(node).writes.filter(({ recovery }) => recovery).length;
  const states = (node: string) => {
    const seen: boolean[] = [];
    const leave = stage.observer.nodes.onChange((name, now) => {
      if (name === node && now !== undefined) seen.push(now.unschedulable);
    });
    return { seen, leave };
  };

  it.each([
    ['with trusted boot', 'uki-2', SECOND],
    ['with GRUB', 'worker-1', NEW],
  ])(
    'of a machine %s is written without a cordon, and once only',
    async (_, node, reference) => {
      const name = `recovery-${node}`;
      const { seen, leave } = states(node);
      await stage.upgrade(name, reference, [node], RECOVERY_ONLY);
      expect(await stage.ended(name)).toMatchObject({ phase: 'Completed' });
      expect(slots(node)).toEqual(['v4.0.2', 'v4.0.2', 'v4.0.3']);
      expect(stage.kairosNode(node).status.recovery).toMatchObject({
        image: reference,
        digest: expect.stringMatching(/^sha256:/),
        version: versionIn(reference),
        rollout: stage.rolloutID(name),
      });
      expect(lastAttempt(node)).toMatchObject({ verdict: 'Succeeded', writes: [{ step: 'recovery', exitCode: 0 }] });

      await stage.upgrade(`${name}-again`, reference, [node], RECOVERY_ONLY);
      expect((await stage.ended(`${name}-again`)).rollout).toMatchObject({ verdicts: { AlreadyOnTarget: 1 } });
      expect(writes(node)).toBe(1);
      await stage.upgrade(`${name}-forced`, reference, [node], { ...RECOVERY_ONLY, force: true });
      expect((await stage.ended(`${name}-forced`)).rollout).toMatchObject({ verdicts: { Succeeded: 1 } });
      expect(writes(node)).toBe(2);

      leave();
      expect(seen.filter((unschedulable) => unschedulable)).toEqual([]);
      expect(stage.recording(node).upgradeRuns).toEqual([]);
      expect(stage.recording(node).boots).toHaveLength(1);
      await stage.cleanedUp();
    },
    90_000,
  );

  it('is all that is written to a node that runs the target, where both are asked for', async () => {
    const both = { upgradeRecovery: true };
    await stage.upgrade('recovery-left', OLD, ['worker-1'], both);
    expect(await stage.ended('recovery-left')).toMatchObject({ phase: 'Completed' });
    expect(slots('worker-1')).toEqual(['v4.0.2', 'v4.0.2', 'v4.0.2']);
    expect(stage.recording('worker-1').upgradeRuns).toEqual([]);
    expect(stage.recording('worker-1').boots).toHaveLength(1);
    expect(writes('worker-1')).toBe(3);

    await stage.upgrade('nothing-left', OLD, ['worker-1'], both);
    expect((await stage.ended('nothing-left')).rollout).toMatchObject({ verdicts: { AlreadyOnTarget: 1 } });
    expect(writes('worker-1')).toBe(3);
  }, 90_000);

  it('is not touched where the new active image did not boot', async () => {
    stage.cluster.makeImageBad(NEWER);
    await stage.upgrade('both', NEWER, ['worker-1'], { upgradeRecovery: true });
    expect((await stage.ended('both')).rollout?.failed).toMatchObject([{ verdict: 'RolledBack' }]);
    expect(slots('worker-1')).toEqual(['v4.0.4', 'v4.0.2', 'v4.0.2']);
    expect(writes('worker-1')).toBe(3);
    expect(stage.kairosNode('worker-1').status.recovery?.version).toBe(versionIn(OLD));
  }, 90_000);
});
