import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { kairosImage, openImageRegistry } from '../../sim/images.ts';
import { buildMachine, type Machine } from '../../sim/machine.ts';

let folder: string;
let imageFolder: string;
let machine: Machine;
let hung: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'machine-'));
  imageFolder = openImageRegistry(join(folder, 'images')).add(kairosImage('hadron:v1', 'v1')).folder;
  machine = buildMachine({ name: 'm', folder: join(folder, 'm'), imageFolder, bootMs: 10 });
  machine.powerOn();
  await machine.settled();
  hung = 0;
  machine.onHang(() => (hung += 1));
});

afterEach(() => {
  machine.powerOff();
  rmSync(folder, { recursive: true, force: true });
});

const run = async (script: string) =>
  machine.run({ command: ['/bin/sh', '-c', script], env: {}, imageFolder, upgradeMs: 0 }).ended;
const isOff = () =>
  new Promise<void>((resolve) => {
    machine.onPower((power) => (power === 'off' ? resolve() : undefined));
  });

describe('a machine that does not go down when it is asked to', () => {
  it.each([
    ['ignored', 0],
    ['hangs', 1],
  ] as const)('%s: it stays up, until it is forced', async (fault, hangs) => {
    machine.faults.reboot = fault;
    const before = machine.bootID;
    const off = isOff();
    await run('nsenter -i -m -t 1 -- reboot');
    // Longer than a shutdown takes.
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect({ power: machine.power, bootID: machine.bootID, hung }).toEqual({
      power: 'running',
      bootID: before,
      hung: hangs,
    });
    await run('nsenter -i -m -t 1 -- reboot -f');
    await off;
    await machine.settled();
    expect(machine.bootID).not.toBe(before);
  });
});

describe('an upgrade', () => {
  const upgrade = () => run('kairos-agent upgrade --source dir:/; echo "not reached"');

  it('that fails says why, and leaves the slots as they were', async () => {
    machine.faults.upgradeFails = 'no space left on device';
    expect(await run('kairos-agent upgrade --source dir:/')).toMatchObject({
      exitCode: 1,
      outOfMemory: false,
      output: expect.stringMatching(/Error: no space left on device/),
    });
    expect(machine.writes).toMatchObject([{ exitCode: 1 }]);
  });

  it('that is killed for want of memory takes its whole container with it', async () => {
    machine.faults.upgradeOutOfMemory = true;
    const ended = await upgrade();
    expect(ended).toMatchObject({ exitCode: 137, outOfMemory: true });
    expect(ended?.output).not.toMatch(/not reached/);
  });

  it('goes well once the fault is mended', async () => {
    machine.faults.upgradeOutOfMemory = true;
    await upgrade();
    delete machine.faults.upgradeOutOfMemory;
    expect(await upgrade()).toMatchObject({ exitCode: 0, outOfMemory: false });
  });
});
