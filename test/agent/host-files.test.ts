import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { listHostDirectory, MAX_FILE_BYTES, readHostText } from '../../agent/host-files.ts';
import { makeMachine, type TestMachine } from './machine.ts';

describe('a file of the machine', () => {
  let machine: TestMachine;
  beforeEach(() => {
    machine = makeMachine({ 'usr/lib/os-release': 'ID=inside\n', 'etc/plain': 'text\n' });
  });
  afterEach(() => machine.remove());

  const link = (target: string, path: string) => symlinkSync(target, join(machine.root, path));
  const read = (path: string) => readHostText(machine.root, path);

  it.each([
    ['relative', '../usr/lib/os-release'],
    ['absolute, which the kernel would take from the container', '/usr/lib/os-release'],
    ['climbing above the root', '../../../../../../usr/lib/os-release'],
    ['with needless parts', './/../usr/./lib//os-release'],
  ])('is read through a link that is %s', async (_, target) => {
    link(target, 'etc/os-release');
    expect(await read('etc/os-release')).toBe('ID=inside\n');
  });

  it('is read through linked directories and links to links', async () => {
    link('usr/lib', 'lib');
    link('/lib/os-release', 'etc/first');
    link('first', 'etc/os-release');
    expect(await read('etc/os-release')).toBe('ID=inside\n');
  });

  it('is never read outside of the root', async () => {
    const outside = makeMachine({ secret: 'outside\n' });
    link(join(outside.root, 'secret'), 'etc/absolute');
    link(`../../${outside.root.split('/').at(-1)}/secret`, 'etc/relative');
    link(outside.root, 'etc/folder');
    expect(await Promise.all(['etc/absolute', 'etc/relative', 'etc/folder/secret'].map(read))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(await readHostText(machine.root, `../${outside.root.split('/').at(-1)}/secret`)).toBeUndefined();
    outside.remove();
  });

  it.each([
    ['missing', 'etc/nothing'],
    ['below a file', 'etc/plain/more'],
    ['a directory', 'usr/lib'],
    ['a dangling link', 'etc/dangling'],
    ['a link to itself', 'etc/loop'],
    ['a named pipe, which would block', 'etc/pipe'],
    ['a device', 'etc/device'],
  ])('is not there when it is %s', async (_, path) => {
    link('/nowhere/at/all', 'etc/dangling');
    link('loop', 'etc/loop');
    execFileSync('mkfifo', [join(machine.root, 'etc/pipe')]);
    link('/dev/zero', 'etc/device');
    expect(await read(path)).toBeUndefined();
  });

  it('is read up to 64 KiB', async () => {
    writeFileSync(join(machine.root, 'etc/huge'), Buffer.alloc(3_000_000, 'x'));
    expect(await read('etc/huge')).toHaveLength(MAX_FILE_BYTES);
  });

  it('is read where its size is said to be 0, as in /proc', async () => {
    expect(await readHostText('/', 'proc/sys/kernel/random/boot_id')).toMatch(/^[0-9a-f-]{36}\n$/);
  });

  it('that is empty is not missing', async () => {
    machine.write({ 'etc/empty': '' });
    expect(await read('etc/empty')).toBe('');
  });

  it('that may not be read is an error and not missing', async () => {
    if (process.getuid?.() === 0) return; // root may read everything
    chmodSync(join(machine.root, 'etc/plain'), 0);
    await expect(read('etc/plain')).rejects.toThrow('EACCES');
  });

  it('is listed with its directory', async () => {
    mkdirSync(join(machine.root, 'run/cos'), { recursive: true });
    machine.write({ 'run/cos/active_mode': '1' });
    expect(await listHostDirectory(machine.root, 'run/cos')).toEqual(['active_mode']);
    expect(await listHostDirectory(machine.root, 'run/other')).toBeUndefined();
    expect(await listHostDirectory(machine.root, 'etc/plain')).toBeUndefined();
  });
});
