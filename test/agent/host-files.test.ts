import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, openSync, closeSync, ftruncateSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { listHostDirectory, MAX_FILE_BYTES, MAX_LISTED, readHostFile } from '../../agent/host-files.ts';
import { makeMachine, type TestMachine } from './machine.ts';
import { asOrdinaryUser } from './ordinary-user.ts';

describe('a file of the machine', () => {
  let machine: TestMachine;
  beforeEach(() => {
    machine = makeMachine({ 'usr/lib/os-release': 'ID=inside\n', 'etc/plain': 'text\n' });
    chmodSync(machine.root, 0o755);
  });
  afterEach(() => machine.remove());

  const at = (path: string) => join(machine.root, path);
  const link = (target: string, path: string) => symlinkSync(target, at(path));
  const textIn = async (root: string, path: string) => (await readHostFile(root, path))?.bytes.toString();
  const read = (path: string) => textIn(machine.root, path);

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
    const name = outside.root.split('/').at(-1);
    link(join(outside.root, 'secret'), 'etc/absolute');
    link(`../../${name}/secret`, 'etc/relative');
    link(outside.root, 'etc/folder');
    link('/proc/self/root', 'etc/magic');
    const paths = ['etc/absolute', 'etc/relative', 'etc/folder/secret', `etc/magic${outside.root}/secret`];
    expect(await Promise.all(paths.map(read))).toEqual([undefined, undefined, undefined, undefined]);
    expect(await read(`../${name}/secret`)).toBeUndefined();
    // the very file that this container has, too
    link('/etc/passwd', 'etc/passwd');
    link('../../../../../../../../etc/passwd', 'etc/climbing');
    expect(await Promise.all(['etc/passwd', 'etc/climbing'].map(read))).toEqual([undefined, undefined]);
    outside.remove();
  });

  it.each([
    ['missing', 'etc/nothing'],
    ['below a file', 'etc/plain/more'],
    ['a dangling link', 'etc/dangling'],
    ['a link to itself', 'etc/loop'],
    ['in a ring of links', 'etc/ring-1'],
    ['behind a link that grows with every step', 'etc/growing'],
    ['behind a link whose name no system takes', 'etc/long'],
    ['behind a link to a device of the container', 'etc/device'],
  ])('is not there when it is %s', async (_, path) => {
    link('/nowhere/at/all', 'etc/dangling');
    link('loop', 'etc/loop');
    link('ring-2', 'etc/ring-1');
    link('/etc/ring-1', 'etc/ring-2');
    link('growing/growing', 'etc/growing');
    link('x'.repeat(2000), 'etc/long');
    link('/dev/zero', 'etc/device');
    expect(await read(path)).toBeUndefined();
  });

  it('is not opened when it is a named pipe or a directory', async () => {
    execFileSync('mkfifo', [at('etc/pipe')]);
    for (const path of ['etc/pipe', 'usr/lib']) {
      const file = await readHostFile(machine.root, path);
      expect([file?.bytes.length, file?.flaw]).toEqual([0, expect.stringContaining('is no regular file')]);
    }
  });

  it('is not opened when it is a device', async () => {
    // the root of this very machine: no privilege is needed to look at its devices
    for (const path of ['dev/zero', 'dev/null', 'dev/random']) {
      expect((await readHostFile('/', path))?.flaw).toContain('is no regular file');
    }
  });

  it('is read up to 64 KiB, in whole lines', async () => {
    const line = `${'x'.repeat(99)}\n`;
    writeFileSync(at('etc/long'), line.repeat(30_000));
    const file = await readHostFile(machine.root, 'etc/long');
    expect(file?.bytes.toString()).toBe(line.repeat(Math.floor(MAX_FILE_BYTES / 100)));
    expect(file?.flaw).toContain('longer than 65536 bytes');
    writeFileSync(at('etc/line'), Buffer.alloc(3_000_000, 'x'));
    expect((await readHostFile(machine.root, 'etc/line'))?.bytes).toHaveLength(0);
  });

  it('of exactly 64 KiB is whole', async () => {
    writeFileSync(at('etc/exact'), Buffer.alloc(MAX_FILE_BYTES, 'x'));
    const file = await readHostFile(machine.root, 'etc/exact');
    expect([file?.bytes.length, file?.flaw]).toEqual([MAX_FILE_BYTES, undefined]);
  });

  it('of a gibibyte with nothing in it costs no more than any other', async () => {
    const file = openSync(at('etc/sparse'), 'w');
    ftruncateSync(file, 1024 ** 3);
    closeSync(file);
    const before = process.memoryUsage().arrayBuffers;
    expect((await readHostFile(machine.root, 'etc/sparse'))?.flaw).toContain('longer than');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  });

  it('is read where its size is said to be 0, as in /proc', async () => {
    expect(await textIn('/', 'proc/sys/kernel/random/boot_id')).toMatch(/^[0-9a-f-]{36}\n$/);
  });

  it('that is empty is not missing', async () => {
    machine.write({ 'etc/empty': '' });
    expect(await read('etc/empty')).toBe('');
  });

  it('that may not be read is an error and not missing', async () => {
    chmodSync(at('etc/plain'), 0);
    await asOrdinaryUser(() => expect(read('etc/plain')).rejects.toThrow('EACCES'));
    chmodSync(at('etc'), 0);
    await asOrdinaryUser(() => expect(read('etc/plain')).rejects.toThrow('EACCES'));
    chmodSync(at('etc'), 0o755);
  });

  it('is listed with its directory', async () => {
    machine.write({ 'run/cos/active_mode': '1' });
    expect(await listHostDirectory(machine.root, 'run/cos')).toEqual(['active_mode']);
    expect(await listHostDirectory(machine.root, 'run/other')).toBeUndefined();
    expect(await listHostDirectory(machine.root, 'etc/plain')).toBeUndefined();
  });

  it('is listed up to a limit', async () => {
    mkdirSync(at('run/cos'), { recursive: true });
    for (let n = 0; n < MAX_LISTED + 50; n += 1) writeFileSync(at(`run/cos/${n}`), '');
    expect(await listHostDirectory(machine.root, 'run/cos')).toHaveLength(MAX_LISTED);
  });
});
