import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readEvidence } from '../../agent/evidence.ts';
import { SLOTS, type Slot } from '../../sim/grub.ts';
import { kairosImage, openImageRegistry, type ImageRegistry } from '../../sim/images.ts';
import { buildMachine, type Machine } from '../../sim/machine.ts';
import { blessed, throughSystemdBoot } from '../../sim/systemd-boot.ts';

const ALL = new Set(SLOTS);

describe('systemd-boot', () => {
  it.each<[string, string[], Slot | undefined, string, string[]]>([
    [
      'starts the active entry',
      ['active.conf', 'passive.conf'],
      'active',
      'active.conf',
      ['active.conf', 'passive.conf'],
    ],
    ['takes a try from a new one', ['active+3.conf'], 'active', 'active+3.conf', ['active+2-1.conf']],
    ['takes the last try', ['active+1-2.conf'], 'active', 'active+1-2.conf', ['active+0-3.conf']],
    [
      'passes over one without a try left',
      ['active+0-3.conf', 'passive+3.conf', 'recovery.conf'],
      'passive',
      'passive+3.conf',
      ['active+0-3.conf', 'passive+2-1.conf', 'recovery.conf'],
    ],
    [
      'starts one without a try left where no other is there',
      ['active+0-3.conf', 'passive+0-3.conf'],
      'active',
      'active+0-3.conf',
      ['active+0-3.conf', 'passive+0-3.conf'],
    ],
    ['starts nothing where nothing is there', ['other.conf'], undefined, '', ['other.conf']],
  ])('%s', (_, names, slot, selected, entries) => {
    expect(throughSystemdBoot(names, ALL)).toEqual({ slot, selected, entries });
  });

  it('starts no entry whose file is not there', () => {
    expect(throughSystemdBoot(['active.conf', 'passive.conf'], new Set(['passive'] as const)).slot).toBe('passive');
  });

  it('ends the trial of what was started, and of nothing else', () => {
    expect(blessed('active', ['active+2-1.conf', 'passive+3.conf'])).toEqual(['active.conf', 'passive+3.conf']);
  });
});

describe('a simulated machine with trusted boot', () => {
  const [OLD, NEW, BAD] = ['v4.0.0', 'v4.1.0', 'v4.1.1'];
  let folder: string;
  let images: ImageRegistry;
  let machine: Machine;
  const imageFolder = (version: string) => images.find(`q.io/uki:${version}`)?.folder ?? '';

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'uki-'));
    images = openImageRegistry(join(folder, 'images'));
    for (const version of [OLD, NEW, BAD])
      images.add(kairosImage(`q.io/uki:${version}`, version, { trustedBoot: true, boots: version !== BAD }));
    machine = buildMachine({ name: 'm', folder: join(folder, 'm'), imageFolder: imageFolder(OLD), bootMs: 5 });
    machine.powerOn();
    await machine.settled();
  });
  afterEach(() => {
    machine.powerOff();
    rmSync(folder, { recursive: true, force: true });
  });

  const entries = () => readdirSync(join(machine.folder, 'efi/loader/entries')).sort();
  const versions = () =>
    SLOTS.map((slot) => {
      const text = readFileSync(join(machine.disk.slotFolder(slot), 'etc/kairos-release'), 'utf8');
      return /^KAIROS_VERSION="(.*)"$/m.exec(text)?.[1];
    });
  const WITH_FILES = `
    mount --rbind "$IMAGE_ROOT/trusted-boot" "$HOST_DIR/usr/local/trusted-boot"
    chroot "$HOST_DIR" kairos-agent upgrade $MORE --source dir:/usr/local/trusted-boot`;
  const upgrade = (version: string, more = '') =>
    machine.run({
      command: ['/bin/sh', '-c', `mkdir -p "$HOST_DIR/usr/local/trusted-boot"${WITH_FILES}`],
      env: { MORE: more },
      imageFolder: imageFolder(version),
      upgradeMs: 0,
    }).ended;
  async function reboot(): Promise<void> {
    machine.reboot();
    await machine.settled();
  }

  it('boots the new file, keeps the old one to fall back to, and tells its agent', async () => {
    expect(entries()).toEqual(['active.conf', 'passive+3.conf', 'recovery+3.conf']);
    expect(await upgrade(NEW)).toMatchObject({ exitCode: 0 });
    expect(entries()).toEqual(['active+3.conf', 'passive+3.conf', 'recovery+3.conf']);
    await reboot();
    expect(versions()).toEqual([NEW, OLD, OLD]);
    expect(entries()).toContain('active.conf');
    expect(await readEvidence(machine.root)).toMatchObject({
      bootState: 'active',
      trustedBoot: true,
      loaderEntry: 'active+3.conf',
      bootID: machine.bootID,
    });
  });

  it('falls back after three tries, and an upgrade from there loses what runs', async () => {
    await upgrade(BAD);
    await reboot();
    expect({ slot: machine.slot, versions: versions() }).toEqual({ slot: 'passive', versions: [BAD, OLD, OLD] });
    expect(entries()).toContain('active+0-3.conf');
    // What the operator refuses.
    await upgrade(NEW);
    expect(versions()).toEqual([NEW, BAD, OLD]);
  });

  it('writes its recovery file alone when asked to', async () => {
    expect(await upgrade(NEW, '--recovery')).toMatchObject({ exitCode: 0 });
    expect(versions()).toEqual([OLD, OLD, NEW]);
    expect(machine.writes).toMatchObject([{ recovery: true, exitCode: 0 }]);
  });

  it('is not upgraded by an agent outside of its root', async () => {
    const ended = await machine.run({
      command: ['/bin/sh', '-c', 'kairos-agent upgrade --source dir:/'],
      env: {},
      imageFolder: imageFolder(NEW),
      upgradeMs: 0,
    }).ended;
    expect(ended).toMatchObject({ exitCode: 1, output: expect.stringContaining('no EFI partition') });
    expect(versions()).toEqual([OLD, OLD, OLD]);
  });
});
