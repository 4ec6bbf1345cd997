import { afterEach, describe, expect, it } from '@jest/globals';
import { readEvidence } from '../../agent/evidence.ts';
import { bootStateOf } from '../../policy/boot-state.ts';
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
    ['livecd', { cmdline: `${grub} root=live:LABEL=COS_LIVE` }],
    ['livecd', { cmdline: `${grub} netboot rd.neednet=1` }],
    // what runs in memory is the installed system, even from removable media
    ['active', { cmdline: `${grub} root=live:LABEL=COS_LIVE kairos.ram`, sentinels: ['active_mode', 'in_ram_mode'] }],
    ['active', { cmdline: `${grub} root=live:CDLABEL=COS_LIVE kairos.ram=1` }],
    ['active', { cmdline: `${grub} netboot kairos.ram.oem=64` }],
    ['active', { cmdline: `${uki} kairos.ram` }],
    ['livecd', { cmdline: `${grub} netboot kairos.ramdisk` }],
    ['passive', { cmdline: grub, sentinels: ['passive_mode', 'upgrade_failure'] }],
    ['recovery', { cmdline: grub, sentinels: ['autoreset_mode'] }],
    ['livecd', { sentinels: ['live_mode'] }],
    ['active', { cmdline: uki, sentinels: ['uki_boot_mode'], loaderEntry: 'active.conf' }],
    ['passive', { cmdline: uki, sentinels: ['uki_boot_mode', 'passive_mode'] }],
    ['active', { cmdline: uki, loaderEntry: 'active+2-1.conf' }],
    ['active', { cmdline: uki, loaderEntry: 'active_debug.conf' }],
    ['passive', { cmdline: uki, loaderEntry: 'passive+3.conf' }],
    ['passive', { cmdline: uki, loaderEntry: 'passive_debug.conf' }],
    ['recovery', { cmdline: uki, loaderEntry: 'recovery.conf' }],
    ['recovery', { cmdline: uki, loaderEntry: 'statereset.conf' }],
    ['passive', { cmdline: `${uki} note=COS_ACTIVE`, sentinels: ['uki_boot_mode'], loaderEntry: 'passive.conf' }],
    // immucore's word is enough where the command line is not seen
    ['passive', { cmdline: 'note=COS_ACTIVE', sentinels: ['uki_boot_mode'], loaderEntry: 'passive.conf' }],
    ['livecd', { cmdline: uki, isInstalled: false }],
    ['unknown', { cmdline: uki, isInstalled: true }],
    ['unknown', { cmdline: uki, loaderEntry: 'active' }],
    ['unknown', { cmdline: uki, loaderEntry: 'norole.conf' }],
    ['unknown', { cmdline: uki, sentinels: ['uki_boot_mode', 'unknown'] }],
    ['unknown', { cmdline: grub }],
    ['unknown', { cmdline: grub, isInstalled: false }],
    ['unknown', { cmdline: '' }],
    ['unknown', {}],
  ])('is %s for %j', (expected, evidence) => {
    expect(bootStateOf(evidence)).toBe(expected);
  });
});

describe('the boot state of a machine with trusted boot', () => {
  let machine: TestMachine;
  afterEach(() => machine.remove());

  const variable = (name: string) => `sys/firmware/efi/efivars/${name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f`;
  const efi = (text: string) => Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from(`${text}\0`, 'utf16le')]);
  const partition = { [variable('LoaderDevicePartUUID')]: efi('6F6C3DE8-3C3B-4A7F-9D0A-0F6F2C9E1B11') };
  const stateOf = async (files: Record<string, string | Buffer>) => {
    machine = makeMachine({ ...HADRON, 'proc/cmdline': `${uki}\n`, ...files });
    return (await readEvidence(machine.root))?.bootState;
  };

  it.each([
    ['active', 'active.conf'],
    ['passive', 'passive+1-2.conf'],
    ['recovery', 'recovery.conf'],
  ])('is %s after the entry %s', async (expected, entry) => {
    expect(await stateOf({ ...partition, [variable('LoaderEntrySelected')]: efi(entry) })).toBe(expected);
  });

  it('is livecd where systemd-boot names no partition that it came from', async () => {
    const other = 'sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c';
    expect(await stateOf({ [other]: Buffer.from([6, 0, 0, 0, 1]) })).toBe('livecd');
  });

  it.each<[string, Record<string, string | Buffer>]>([
    ['are not mounted', {}],
    ['are empty', { [variable('LoaderEntrySelected')]: Buffer.alloc(0), ...partition }],
    ['are cut short', { [variable('LoaderEntrySelected')]: Buffer.from([6, 0, 0]), ...partition }],
    ['are no text', { [variable('LoaderEntrySelected')]: Buffer.alloc(9000, 0xd8), ...partition }],
    ['are huge', { [variable('LoaderEntrySelected')]: Buffer.alloc(1_000_000, 0x41), ...partition }],
  ])('is unknown where the variables of the firmware %s', async (_, files) => {
    expect(await stateOf(files)).toBe('unknown');
  });

  it('is what immucore left in /run/cos where the firmware tells nothing', async () => {
    expect(await stateOf({ 'run/cos/uki_boot_mode': '1', 'run/cos/active_mode': '1' })).toBe('active');
  });

  it('does not come from the firmware on a machine with GRUB', async () => {
    const cmdline = { 'proc/cmdline': `${grub} root=LABEL=SOMETHING` };
    expect(await stateOf({ ...cmdline, [variable('LoaderEntrySelected')]: efi('active.conf') })).toBe('unknown');
  });
});
