import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { kairosImage, openImageRegistry, type ImageRegistry } from '../../sim/images.ts';
import { buildMachine, type Machine } from '../../sim/machine.ts';

const [OLD, NEW, NEWER, BAD] = ['v4.0.0', 'v4.1.0', 'v4.2.0', 'v4.1.1'];
const repository = 'quay.io/kairos/hadron';

let folder: string;
let images: ImageRegistry;
let machine: Machine;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'machine-'));
  images = openImageRegistry(join(folder, 'images'));
  for (const version of [OLD, NEW, NEWER, BAD]) {
    images.add(kairosImage(`${repository}:${version}`, version, { boots: version !== BAD }));
  }
  machine = buildMachine({ name: 'm', folder: join(folder, 'm'), imageFolder: imageFolder(OLD), bootMs: 10 });
  machine.powerOn();
  await machine.settled();
});

afterEach(() => {
  machine.powerOff();
  rmSync(folder, { recursive: true, force: true });
});

function imageFolder(version: string): string {
  return images.find(`${repository}:${version}`)?.folder ?? '';
}

function run(script: string, version: string = NEW, options: { upgradeMs?: number; args?: string[] } = {}) {
  return machine.run({
    command: ['/bin/sh', '-c', script, 'script', ...(options.args ?? [])],
    env: {},
    imageFolder: imageFolder(version),
    upgradeMs: options.upgradeMs ?? 0,
  });
}

const upgrade = (version: string, extra = '') =>
  run(`kairos-agent --debug upgrade ${extra} --source dir:/`, version).ended;

async function reboot(): Promise<void> {
  machine.reboot();
  await machine.settled();
}

const release = (): string => readFileSync(join(machine.root, 'etc/kairos-release'), 'utf8');
const cmdline = (): string => readFileSync(join(machine.root, 'proc/cmdline'), 'utf8');
const slotRelease = (slot: string): string =>
  readFileSync(join(machine.folder, 'slots', slot, 'etc/kairos-release'), 'utf8');

describe('a simulated machine', () => {
  it('boots the new image after an upgrade and a reboot, and keeps the old one as the fallback', async () => {
    const before = machine.bootID;
    expect(await upgrade(NEW)).toMatchObject({ exitCode: 0 });
    expect(release()).toContain(OLD); // not before the reboot
    await reboot();
    expect(release()).toContain(NEW);
    expect(cmdline()).toContain('COS_ACTIVE');
    expect(slotRelease('passive')).toContain(OLD);
    expect(machine.bootID).not.toBe(before);
    expect(machine.disk.readGrub().assessment).toEqual({});
    expect(machine.writes).toMatchObject([{ bootID: before, recovery: false, exitCode: 0 }]);
  });

  it('loses the fallback when it is upgraded twice without a reboot', async () => {
    await upgrade(NEW);
    await upgrade(NEWER);
    expect(slotRelease('active')).toContain(NEWER);
    expect(slotRelease('passive')).toContain(NEW);
  });

  it('falls back to the old image when the new one does not boot', async () => {
    await upgrade(BAD);
    await reboot();
    expect(machine.slot).toBe('passive');
    expect(release()).toContain(OLD);
    expect(cmdline()).toMatch(/COS_PASSIVE.*upgrade_failure/);
    expect(existsSync(join(machine.root, 'run/cos/upgrade_failure'))).toBe(true);
  });

  it('falls back again after an upgrade from passive while the assessment is left open', async () => {
    await upgrade(BAD);
    await reboot();
    await upgrade(NEW);
    expect(slotRelease('passive')).toContain(OLD); // untouched when booted from it
    await reboot();
    expect(machine.slot).toBe('passive');
    expect(release()).toContain(OLD);
  });

  it('boots a good image from passive once the assessment is cleared on the state partition', async () => {
    await upgrade(BAD);
    await reboot();
    await upgrade(NEW);
    const clear = 'grub2-editenv "$HOST_DIR/run/initramfs/cos-state/boot_assessment" unset boot_assessment_tentative';
    expect(await run(clear).ended).toMatchObject({ exitCode: 0 });
    await reboot();
    expect(machine.slot).toBe('active');
    expect(release()).toContain(NEW);
  });

  it('has nothing in active and falls back when it is killed between the renames', async () => {
    const container = run('SIM_PAUSE_SECONDS=1 kairos-agent upgrade --source dir:/');
    const active = join(machine.folder, 'slots/active');
    for (let tries = 0; tries < 900 && existsSync(active); tries++) await sleep(10);
    machine.powerOff();
    expect(await container.ended).toBeUndefined();
    expect(readdirSync(join(machine.folder, 'slots')).sort()).toEqual(['passive', 'recovery', 'transition']);
    machine.powerOn();
    await machine.settled();
    expect(machine.slot).toBe('passive');
    expect(release()).toContain(OLD);
    expect(cmdline()).not.toContain('upgrade_failure');
  }, 15_000);

  it('runs the old image when the power fails while the new one is written', async () => {
    const container = run('kairos-agent upgrade --source dir:/', NEW, { upgradeMs: 5000 });
    await sleep(200);
    machine.powerOff();
    await container.ended;
    machine.powerOn();
    await machine.settled();
    expect(machine.slot).toBe('active');
    expect(release()).toContain(OLD);
  });

  it('writes recovery alone when asked to', async () => {
    await upgrade(NEW, '--recovery');
    expect([slotRelease('recovery'), slotRelease('active')]).toEqual([
      expect.stringContaining(NEW),
      expect.stringContaining(OLD),
    ]);
    expect(machine.disk.readGrub().assessment).toEqual({});
  });

  it('bakes in what the container wrote to its root, but for excluded paths', async () => {
    const script = 'echo stamp > "$IMAGE_ROOT/etc/stamp"; echo x > "$IMAGE_ROOT/etc/secret"; kairos-agent "$@"';
    await run(script, NEW, { args: ['upgrade', '--source', 'dir:/', '--exclude-path', '/etc/secret'] }).ended;
    await reboot();
    expect(readdirSync(join(machine.root, 'etc')).sort()).toEqual(['kairos-release', 'os-release', 'stamp']);
    expect(readdirSync(join(imageFolder(NEW), 'etc'))).not.toContain('stamp');
  });

  it('shows its boot id through nsenter, and reboots when a container asks for it', async () => {
    const { bootID } = machine;
    const asked = await run('nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id').ended;
    expect(asked?.output.trim()).toBe(bootID);
    await run('mkdir "$HOST_DIR/run/mark"; nsenter -i -m -t 1 -- reboot').ended;
    while (machine.boots.length < 2) await sleep(10);
    expect(machine.bootID).not.toBe(bootID);
    expect(existsSync(join(machine.root, 'run/mark'))).toBe(false);
  });

  it('stays off while it is held', async () => {
    machine.hold();
    machine.reboot();
    await sleep(50);
    expect(machine.power).toBe('off');
    machine.release();
    expect(await machine.settled()).toBe('running');
  });

  it('is stuck when no image of it boots', async () => {
    await upgrade(BAD);
    await upgrade(BAD);
    machine.reboot();
    expect(await machine.settled()).toBe('stuck');
    expect(machine.bootID).toBeUndefined();
  });

  it('reports exit code, termination log and the end of the output', async () => {
    const ended = await run('echo gone wrong; echo reason > "$TERMINATION_LOG"; exit 3').ended;
    expect(ended).toMatchObject({ exitCode: 3, terminationLog: 'reason\n', output: 'gone wrong\n' });
  });
});

describe('the image registry', () => {
  it('finds an image by tag, by digest and by a completed name', () => {
    const image = images.add({ reference: 'kairos/x', osRelease: { ID: 'x' } });
    expect(image.imageID).toMatch(/^docker\.io\/kairos\/x@sha256:[0-9a-f]{64}$/);
    expect(images.find('docker.io/kairos/x:latest')).toBe(image);
    expect(images.find(`kairos/x@${image.digest}`)).toBe(image);
    expect(images.find(`kairos/x:latest@${image.digest}`)).toBe(image);
    expect(images.find('kairos/y')).toBeUndefined();
  });

  it('breaks and mends an image for those who install it from then on', async () => {
    images.setBoots(`${repository}:${NEW}`, false);
    await upgrade(NEW);
    images.setBoots(`${repository}:${NEW}`, true);
    await reboot();
    expect(machine.slot).toBe('passive');
    expect(() => images.setBoots('nowhere/x:1', false)).toThrow('nowhere/x:1');
  });
});
