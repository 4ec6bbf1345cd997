import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, rmSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { readEvidence } from '../../agent/evidence.ts';
import { kairosNodeAgentStatus } from '../../api/schemas/kairos-node.ts';
import { HADRON, makeMachine, type TestMachine } from './machine.ts';
import { asOrdinaryUser } from './ordinary-user.ts';

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

  it.each([
    ['a plain distribution', { 'etc/os-release': 'ID=ubuntu\nVERSION_ID="24.04"\n' }],
    ['no release files', { 'etc/hostname': 'a\n' }],
    ['empty release files', { 'etc/kairos-release': '', 'etc/os-release': '' }],
    ['binary release files', { 'etc/kairos-release': Buffer.alloc(5000, 0xff), 'etc/os-release': Buffer.alloc(9) }],
  ])('is nothing on a machine with %s', async (_, files) => {
    expect(await read(files)).toBeUndefined();
  });

  it('is an error where nothing is mounted: that is no machine without Kairos', async () => {
    await expect(read({})).rejects.toThrow('mount the machine');
  });
});

describe('the evidence of a hostile machine', () => {
  let machine: TestMachine;
  let left: string[];
  beforeEach(() => {
    machine = makeMachine(HADRON);
    chmodSync(machine.root, 0o755);
    left = [];
  });
  afterEach(() => machine.remove());

  const at = (path: string) => join(machine.root, path);
  const read = () => readEvidence(machine.root, left);
  const schema = kairosNodeAgentStatus.omit({ agentVersion: true, reportedAt: true });
  const KAIROS = 'etc/kairos-release';
  const FILES = [...Object.keys(HADRON), 'etc/kairos-operator/target'];

  const HOSTILE: [string, (path: string) => void][] = [
    ['missing', () => {}],
    ['empty', (path) => writeFileSync(path, '')],
    ['a directory', (path) => mkdirSync(path)],
    ['a pipe that nobody writes to', (path) => execFileSync('mkfifo', [path])],
    ['a link to itself', (path) => symlinkSync(path.split('/').at(-1) ?? '', path)],
    ['a link to a device that never ends', (path) => symlinkSync('/dev/zero', path)],
    ['a gibibyte of nothing', (path) => (writeFileSync(path, ''), truncateSync(path, 1024 ** 3))],
    ['binary', (path) => writeFileSync(path, randomBytes(100_000))],
    ['no UTF-8', (path) => writeFileSync(path, Buffer.alloc(5000, 0xff))],
    ['one endless line', (path) => writeFileSync(path, `KAIROS_VERSION="${'v'.repeat(500_000)}"`)],
    ['a million empty lines', (path) => writeFileSync(path, '\n'.repeat(1_000_000))],
    ['JSON of the wrong kind', (path) => writeFileSync(path, '[[[[{}]]]]')],
  ];

  describe.each(HOSTILE)('of which one file is %s', (_, make) => {
    it.each(FILES)('is one that the resource holds, or none: %s', async (path) => {
      rmSync(at(path), { force: true });
      mkdirSync(dirname(at(path)), { recursive: true });
      make(at(path));
      const evidence = await read();
      // without that file, nothing says that it is a Kairos machine
      expect(evidence === undefined).toBe(path === KAIROS);
      if (evidence !== undefined) expect(schema.safeParse(evidence).error).toBeUndefined();
      expect(left.every((sentence) => sentence.length < 300)).toBe(true);
    });
  });

  it.each([
    ['a directory', 'no regular file', (path: string) => mkdirSync(path)],
    ['longer than it may be', 'longer than 65536 bytes', (path: string) => writeFileSync(path, '#\n'.repeat(50_000))],
  ])('says which file is %s', async (_, words, make) => {
    for (const path of [KAIROS, 'etc/os-release']) {
      rmSync(at(path));
      make(at(path));
    }
    await read();
    expect(left).toEqual([
      expect.stringContaining(`/${KAIROS} is ${words}`),
      expect.stringContaining('/etc/os-release'),
    ]);
  });

  it('never holds half a value of a file that is too long', async () => {
    const head = 'KAIROS_VERSION=v4.0.3\n';
    // the limit falls into the value of the second line
    const filler = '#'.repeat(64 * 1024 - head.length - 'KAIROS_RELEASE=v4.0.'.length - 1);
    machine.write({ [KAIROS]: `${head}${filler}\nKAIROS_RELEASE=v4.0.3\n` });
    expect((await read())?.release).not.toHaveProperty('KAIROS_RELEASE');
    // the same with letters of two bytes each, which are half as many characters
    const wide = `#${'ß'.repeat(filler.length / 2)}`;
    machine.write({ [KAIROS]: `${head}${wide}\nKAIROS_RELEASE=v4.0.3\n` });
    expect((await read())?.release).not.toHaveProperty('KAIROS_RELEASE');
  });

  it('keeps to the limits of the resource, and says what they cost', async () => {
    const lines = Array.from({ length: 5000 }, (_, n) => `KAIROS_X${n}=y`);
    const refused = ['__proto__=x', 'KAIROS_=x', 'KAIROS_a.b/c=x', `KAIROS_${'Y'.repeat(400)}=x`, 'KAIROS_lower=x'];
    const named = 'KAIROS_VERSION=v1.0.0';
    const long = `KAIROS_FLAVOR="${'😀'.repeat(1500)}"`;
    machine.write({ [KAIROS]: [named, long, ...refused, ...lines].join('\n') });
    machine.write({ 'proc/sys/kernel/random/boot_id': 'z'.repeat(1000) });
    const evidence = await read();
    expect(schema.safeParse(evidence).error).toBeUndefined();
    expect(Object.keys(evidence?.release ?? {})).toHaveLength(64);
    expect(
      Object.keys(evidence?.release ?? {}).filter(
        (key) => !/^(KAIROS_[A-Z0-9_]+|ID|VERSION_ID|PRETTY_NAME)$/.test(key),
      ),
    ).toEqual([]);
    expect(evidence?.release?.['KAIROS_FLAVOR']).toHaveLength(1024);
    expect([evidence?.observedVersion, evidence?.bootID]).toEqual(['v1.0.0', undefined]);
    expect(left).toEqual([
      `/${KAIROS} is longer than 65536 bytes: the rest was not read`,
      'what is beyond 1024 characters of KAIROS_FLAVOR of the release files',
      expect.stringMatching(/^KAIROS_X\d+, KAIROS_X\d+, KAIROS_X\d+ and \d+ more of the release files$/),
    ]);
  });

  it('goes without what the machine forbids to read, and says so', async () => {
    machine.write({ 'etc/kairos-operator/target': '{"sourceBootID":"b-1"}' });
    const forbidden = [
      'etc/os-release',
      'proc/cmdline',
      'proc/sys/kernel/random/boot_id',
      'etc/kairos-operator/target',
    ];
    for (const path of forbidden) chmodSync(at(path), 0);
    const evidence = await asOrdinaryUser(read);
    expect(evidence).toMatchObject({ observedVersion: 'v4.0.3-k3sv1.33.9+k3s1', bootState: 'unknown', stamp: {} });
    for (const path of forbidden) expect(left).toContainEqual(expect.stringContaining(`/${path}: it must be readable`));
    expect(evidence).not.toHaveProperty('bootID');
  });

  it.each([
    ['its own release file', [KAIROS]],
    ['both release files', [KAIROS, 'etc/os-release']],
  ])('is an error and not none where it forbids to read %s', async (_, paths) => {
    for (const path of paths) chmodSync(at(path), 0);
    const reading = asOrdinaryUser(read);
    await expect(reading).rejects.toThrow(`cannot read /${KAIROS} of the machine: it must be readable for everybody`);
    await expect(reading).rejects.toMatchObject({ cause: { code: 'EACCES' } });
  });

  it('is an error where the only release file that may say Kairos is forbidden', async () => {
    rmSync(at(KAIROS));
    chmodSync(at('etc/os-release'), 0);
    await asOrdinaryUser(() => expect(read()).rejects.toThrow('cannot read /etc/os-release of the machine'));
  });
});
