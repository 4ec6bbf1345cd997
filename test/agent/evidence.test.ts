import { randomBytes } from 'node:crypto';
import { symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { bootStateOf } from '../../agent/boot-state.ts';
import { readEvidence } from '../../agent/evidence.ts';
import { HADRON, makeMachine, type TestMachine } from './machine.ts';

const uki = 'console=tty1 rd.immucore.uki net.ifnames=1';
const grub = 'BOOT_IMAGE=(loop0)/boot/vmlinuz console=tty1';

describe('the boot state', () => {
  it.each([
    ['active', { cmdline: `${grub} root=LABEL=COS_ACTIVE cos-img/filename=/cOS/active.img` }],
    ['passive', { cmdline: `${grub} root=LABEL=COS_PASSIVE cos-img/filename=/cOS/passive.img` }],
    ['passive', { cmdline: `${grub} root=LABEL=COS_PASSIVE cos-img/filename=/cOS/passive.img upgrade_failure` }],
    ['passive', { cmdline: `${grub} root=LABEL=COS_PASSIVE comment=was_COS_ACTIVE_before` }],
    ['recovery', { cmdline: `${grub} root=LABEL=COS_SYSTEM cos-img/filename=/cOS/recovery.img recovery-mode` }],
    ['recovery', { cmdline: `${grub} root=live:LABEL=COS_RECOVERY rd.live.squashimg=/cOS/recovery.squashfs` }],
    ['recovery', { cmdline: `${grub} root=LABEL=COS_SYSTEM kairos.reset` }],
    ['livecd', { cmdline: `${grub} root=live:CDLABEL=COS_LIVE rd.live.dir=/` }],
    ['livecd', { cmdline: `${grub} netboot rd.neednet=1` }],
    ['active', { cmdline: `${grub} kairos.ram`, sentinels: ['active_mode', 'in_ram_mode'] }],
    ['passive', { cmdline: grub, sentinels: ['passive_mode', 'upgrade_failure'] }],
    ['recovery', { cmdline: grub, sentinels: ['autoreset_mode'] }],
    ['livecd', { sentinels: ['live_mode'] }],
    ['active', { cmdline: uki, sentinels: ['uki_boot_mode'], loaderEntry: 'active.conf' }],
    ['active', { cmdline: uki, loaderEntry: 'active+2-1.conf' }],
    ['passive', { cmdline: uki, loaderEntry: 'passive+3.conf' }],
    ['recovery', { cmdline: uki, loaderEntry: 'recovery.conf' }],
    ['recovery', { cmdline: uki, loaderEntry: 'statereset.conf' }],
    ['passive', { cmdline: `${uki} note=COS_ACTIVE`, sentinels: ['uki_boot_mode'], loaderEntry: 'passive.conf' }],
    ['unknown', { cmdline: uki, loaderEntry: 'norole.conf' }],
    ['unknown', { cmdline: grub }],
    ['unknown', { cmdline: '' }],
    ['unknown', {}],
  ])('is %s for %j', (expected, evidence) => {
    expect(bootStateOf(evidence)).toBe(expected);
  });
});

describe('the evidence of a machine', () => {
  let machine: TestMachine;
  afterEach(() => machine.remove());

  const read = (files: Record<string, string | Buffer>) => {
    machine = makeMachine(files);
    return readEvidence(machine.root);
  };

  it('is what its files say', async () => {
    expect(await read(HADRON)).toEqual({
      observedVersion: 'v4.0.3-k3sv1.33.9+k3s1',
      release: {
        KAIROS_FAMILY: 'hadron',
        KAIROS_RELEASE: 'v4.0.3',
        KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
        KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
        KAIROS_VERSION: 'v4.0.3',
        ID: 'hadron',
        VERSION_ID: 'v0.0.4',
        PRETTY_NAME: 'Hadron Linux',
      },
      bootID: '3f2b6c1e-0d54-4a6f-9f0e-1c2d3e4f5a6b',
      bootState: 'active',
    });
  });

  it('holds the stamp that the upgrade baked in', async () => {
    const stamp = { image: 'registry/hadron:v2', digest: 'sha256:abc', rollout: 'rollout/c/ns/n', sourceBootID: 'b-1' };
    const evidence = await read({ ...HADRON, 'etc/kairos-operator/target': `${JSON.stringify(stamp)}\n` });
    expect(evidence?.stamp).toEqual(stamp);
  });

  it.each([
    ['no JSON', 'image=registry/hadron:v2'],
    ['empty', ''],
    ['another type', '["image"]'],
    ['null', 'null'],
    [
      'of fields that are unknown, no text or too long',
      JSON.stringify({ other: 'x', image: 7, digest: 'd'.repeat(301) }),
    ],
    ['binary', randomBytes(100_000)],
  ])('leaves out a stamp that is %s', async (_, content) => {
    const evidence = await read({ ...HADRON, 'etc/kairos-operator/target': content });
    expect(evidence).toBeDefined();
    expect(evidence?.stamp).toBeUndefined();
  });

  it('comes from os-release on images from before kairos-release', async () => {
    const evidence = await read({
      'etc/os-release': 'ID=opensuse-leap\nKAIROS_VERSION="v3.2.4-36-g24ca209-v1.32.0-k3s1"\nHOME_URL=x\n',
    });
    expect(evidence).toEqual({
      observedVersion: 'v3.2.4-36-g24ca209-k3sv1.32.0+k3s1',
      release: { ID: 'opensuse-leap', KAIROS_VERSION: 'v3.2.4-36-g24ca209-v1.32.0-k3s1' },
      bootState: 'unknown',
    });
  });

  it('is read through the usual link of os-release, inside the root', async () => {
    machine = makeMachine({ ...HADRON, 'usr/lib/os-release': 'ID=linked\n' });
    unlinkSync(join(machine.root, 'etc/os-release'));
    symlinkSync('../usr/lib/os-release', join(machine.root, 'etc/os-release'));
    expect((await readEvidence(machine.root))?.release).toMatchObject({ ID: 'linked' });
  });

  it('names the loader entry of a machine with trusted boot', async () => {
    const variable = 'sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f';
    const content = Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from('passive+1-2.conf\0', 'utf16le')]);
    const evidence = await read({ ...HADRON, 'proc/cmdline': uki, [variable]: content });
    expect(evidence?.bootState).toBe('passive');
  });

  it.each([
    ['a plain distribution', { 'etc/os-release': 'ID=ubuntu\nVERSION_ID="24.04"\n' }],
    ['no release files', { 'etc/hostname': 'a\n' }],
    ['empty release files', { 'etc/kairos-release': '', 'etc/os-release': '' }],
    ['binary release files', { 'etc/kairos-release': Buffer.alloc(5000, 0xff), 'etc/os-release': Buffer.alloc(9) }],
  ])('is nothing on a machine with %s', async (_, files) => {
    expect(await read(files)).toBeUndefined();
  });

  it('keeps to the limits of the resource on hostile files', async () => {
    const lines = Array.from({ length: 5000 }, (_, n) => `KAIROS_X${n}="${'y'.repeat(3000)}"`);
    const evidence = await read({
      ...HADRON,
      'etc/kairos-release': `KAIROS_VERSION=v1.0.0\n__proto__=x\n${lines.join('\n')}`,
      'proc/sys/kernel/random/boot_id': 'z'.repeat(1000),
    });
    expect(Object.keys(evidence?.release ?? {}).length).toBeLessThanOrEqual(64);
    expect(Object.values(evidence?.release ?? {}).every((value) => value.length <= 1024)).toBe(true);
    expect(evidence?.observedVersion).toBe('v1.0.0');
    expect(evidence?.bootID).toBeUndefined();
  });

  it('is an error where nothing is mounted: that is no machine without Kairos', async () => {
    await expect(read({})).rejects.toThrow('mount the machine');
  });
});
