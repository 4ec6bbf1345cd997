import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EVIDENCE_SCRIPT, FORCED_REBOOT_SCRIPT, REBOOT_SCRIPT, UPGRADE_SCRIPT } from '../../activities/scripts.ts';
import { readEvidence } from '../../agent/evidence.ts';
import { parseNodeEvidence } from '../../policy/node-evidence.ts';
import { StepContainer } from './step-container.ts';

const ARGS = ['upgrade', 'upgrade', '--source', 'dir:/'];
const LOCK = 'host/run/kairos-operator/upgrade-boot-1';
const ASSESSMENT = 'host/run/initramfs/cos-state/boot_assessment';

let container: StepContainer;
beforeEach(() => {
  container = new StepContainer();
});
afterEach(() => container.remove());

const start = (args: readonly string[] = ARGS, env: Record<string, string> = {}) =>
  container.run(UPGRADE_SCRIPT, args, env);
const upgrade = async (env: Record<string, string> = {}) => start(ARGS, env).ended;
const agentRuns = () => container.calls('kairos-agent').length;

describe('the upgrade', () => {
  it('runs the agent of the image, with the stamp in its root, and leaves its outcome on the host', async () => {
    expect(await upgrade()).toEqual({ code: 0, output: 'writing\ndone\n', report: 'writing\ndone\n' });
    expect(container.calls()).toEqual([
      `mount --rbind ${container.host}/dev /dev`,
      `mount --rbind ${container.host}/run /run`,
      'umount /etc/hostname',
      'umount /etc/hosts',
      'umount /etc/resolv.conf',
      'kairos-agent',
      '<upgrade>',
      '<--source>',
      '<dir:/>',
    ]);
    expect(container.read('stubs/stamp-seen')).toBe('{"image":"i","sourceBootID":"boot-1"}\n');
    expect(container.read(`${LOCK}/outcome`)).toBe('0\n');
  });

  it('keeps every character of a stamp', async () => {
    const stamp = String.raw`{"image":"a%s\\n'b' $HOME \"c\""}`;
    await upgrade({ STAMP: stamp });
    expect(container.read('stubs/stamp-seen')).toBe(`${stamp}\n`);
  });

  it('gives each path to leave out as one argument, whatever is in it', async () => {
    const paths = ['/etc/my file', `/etc/it's`, '/etc/"quoted"', '/etc/$HOME', '/etc/*', '/etc/;reboot', '/etc/`id`'];
    await start([...ARGS, ...paths.flatMap((path) => ['--exclude-path', path])]).ended;
    const words = container.calls().slice(container.calls().indexOf('kairos-agent') + 4);
    expect(words).toEqual(paths.flatMap((path) => ['<--exclude-path>', `<${path}>`]));
  });

  it('passes on the exit code and the last words of an agent that fails', async () => {
    const ended = await upgrade({ AGENT_ENDS: '13', AGENT_SAYS: 'no space left on device' });
    expect(ended).toMatchObject({ code: 13, report: 'writing\nno space left on device\n' });
    expect(container.read(`${LOCK}/outcome`)).toBe('13\n');
  });

  it('leaves no more than the end of a long log where kubelet keeps 4096 bytes', async () => {
    const { report } = await upgrade({ AGENT_ENDS: '1', AGENT_SAYS: `${'x'.repeat(9000)} the reason` });
    expect(report).toHaveLength(3000);
    expect(report).toMatch(/x the reason\n$/);
  });

  it('fails where the image has no agent, and names it', async () => {
    container.delete('bin/kairos-agent');
    expect(await upgrade()).toMatchObject({ code: 127, report: expect.stringMatching(/kairos-agent/) });
  });
});

describe('a second run in the same boot', () => {
  it.each([
    ['success', '0', 'done'],
    ['failure', '13', 'no space left on device'],
  ])('repeats a %s and runs nothing', async (_, code, words) => {
    const first = await upgrade({ AGENT_ENDS: code, AGENT_SAYS: words });
    const calls = container.calls();
    const second = await upgrade({ AGENT_ENDS: '99' });
    expect(second.code).toBe(Number(code));
    const time = String.raw`2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
    const says = new RegExp(`^an earlier pod did this, from ${time} to ${time}; the end of its log:\n`);
    expect(second.report).toMatch(says);
    expect(second.report.replace(says, '')).toBe(first.report);
    expect(container.calls()).toEqual(calls);
  });

  it('waits for the first, and repeats its outcome', async () => {
    container.hold();
    const runs = [start(ARGS, { AGENT_ENDS: '13' })];
    await container.until(() => agentRuns() === 1);
    runs.push(start());
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(runs[1]?.child.exitCode).toBeNull();
    container.goOn();
    const ends = await Promise.all(runs.map((run) => run.ended));
    expect(ends.map(({ code }) => code)).toEqual([13, 13]);
    expect(agentRuns()).toBe(1);
  });

  it('started at the same moment runs the agent once, however many there are', async () => {
    for (const boot of ['boot-1', 'boot-2', 'boot-3']) {
      container.boot(boot);
      const ends = await Promise.all(Array.from({ length: 6 }, () => upgrade({ BOOT_ID: boot })));
      expect(ends.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0, 0]);
    }
    expect(agentRuns()).toBe(3);
  });

  it('after one that was cut off runs nothing: the image may be half written', async () => {
    container.hold();
    const first = start();
    await container.until(() => agentRuns() === 1);
    container.kill(first.child);
    expect((await first.ended).code).toBeNull();
    container.goOn();
    const second = await upgrade();
    expect(second.code).toBe(75);
    expect(second.report).toMatch(/cut off: not run again/);
    expect(agentRuns()).toBe(1);
  });

  it('writes the recovery image all the same, once for each attempt', async () => {
    const recovery = (attempt: number) => upgrade({ STEP: 'recovery', LOCK: `kairos-recovery-n-1-${attempt}` });
    await upgrade();
    for (const attempt of [1, 1, 2, 2]) expect((await recovery(attempt)).code).toBe(0);
    expect(agentRuns()).toBe(3);
  });

  it('waits for another attempt that still writes the recovery image', async () => {
    container.hold();
    const recovery = (attempt: number) =>
      start(ARGS, { STEP: 'recovery', LOCK: `kairos-recovery-n-1-${attempt}`, AGENT_ENDS: String(attempt) });
    const runs = [recovery(1)];
    await container.until(() => agentRuns() === 1);
    runs.push(recovery(2));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(agentRuns()).toBe(1);
    container.goOn();
    expect((await Promise.all(runs.map((run) => run.ended))).map(({ code }) => code)).toEqual([1, 2]);
    expect(agentRuns()).toBe(2);
  });

  it('writes the recovery image again in another attempt where the first was cut off', async () => {
    container.hold();
    const first = start(ARGS, { STEP: 'recovery', LOCK: 'kairos-recovery-n-1-1' });
    await container.until(() => agentRuns() === 1);
    container.kill(first.child);
    await first.ended;
    container.goOn();
    expect((await upgrade({ STEP: 'recovery', LOCK: 'kairos-recovery-n-1-1' })).code).toBe(75);
    expect((await upgrade({ STEP: 'recovery', LOCK: 'kairos-recovery-n-1-2' })).code).toBe(0);
    expect(agentRuns()).toBe(2);
  });
});

describe('in another boot the upgrade', () => {
  it('that was made for an earlier one does nothing', async () => {
    container.boot('boot-2');
    const ended = await upgrade();
    expect(ended.code).toBe(76);
    expect(ended.report).toBe('made for boot boot-1, but this is boot boot-2: nothing done\n');
    expect(container.calls()).toEqual([]);
    expect(container.read(`${LOCK}/pid`)).toBeUndefined();
  });

  it('does nothing where the boot cannot be read', async () => {
    container.write('bin/nsenter', '#!/bin/sh\necho nsenter: denied >&2\nexit 1\n');
    const ended = await upgrade();
    expect(ended).toMatchObject({ code: 77, report: 'the boot id cannot be read: nothing done: nsenter: denied\n' });
    expect(container.calls()).toEqual([]);
  });

  it('that is made for it runs', async () => {
    await upgrade();
    container.boot('boot-2');
    expect((await upgrade({ BOOT_ID: 'boot-2' })).code).toBe(0);
    expect(agentRuns()).toBe(2);
  });
});

describe('an image that cannot fit beside the two that are there', () => {
  const MIB = 1024;
  const disk = (sizeMiB: number, usedMiB: number) =>
    container.write(
      'stubs/df',
      `Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda3 ${sizeMiB * MIB} ${usedMiB * MIB} 1 99% /x\n`,
    );
  beforeEach(() => {
    container.write('host/run/initramfs/cos-state/boot_assessment', '');
    container.write('stubs/du', `${2000 * MIB}\t/\n`);
  });

  it('is refused with what it needs and what is there, and may be tried again when there is room', async () => {
    disk(6000, 4600);
    const words = 'the image takes 2000 MiB, and the state partition has 1400 MiB free: nothing done\n';
    expect(await upgrade()).toEqual({ code: 78, output: words, report: words });
    expect((await upgrade()).code).toBe(78);
    expect(container.calls()).toEqual([]);
    disk(6000, 3000);
    expect((await upgrade()).code).toBe(0);
    expect(agentRuns()).toBe(1);
  });

  it.each<[string, () => void, Record<string, string>]>([
    ['it may fit, as files take less there', () => disk(6000, 4400), {}],
    ['what an earlier upgrade left behind makes room', () => disk(6000, 4600), {}],
    ['the size of the image cannot be told', () => container.write('stubs/du', ''), {}],
    ['what is free cannot be told', () => container.write('stubs/df', ''), {}],
    ['the recovery image is written, which lies elsewhere', () => disk(6000, 5900), { STEP: 'recovery' }],
  ])('is not refused where %s', async (name, given, env) => {
    if (name.includes('left behind')) container.write('stubs/du-transition', `${200 * MIB}\t/x\n`);
    given();
    expect((await upgrade(env)).code).toBe(0);
  });

  it('is not refused where paths are left out, whose size is not asked', async () => {
    disk(6000, 5900);
    expect((await start([...ARGS, '--exclude-path', '/usr/share/doc']).ended).code).toBe(0);
  });
});

describe('on a machine with trusted boot the upgrade', () => {
  const TRUSTED = { TRUSTED_BOOT: 'yes', KUBERNETES_SERVICE_HOST: '10.0.0.1' };
  const FROM = ['upgrade', 'upgrade', '--source', 'dir:/usr/local/trusted-boot'];
  const isUki = () => container.write('host/run/cos/uki_boot_mode', '1\n');

  it('is done by the agent of the machine, which is shown the signed files of the image', async () => {
    isUki();
    expect(await start(FROM, TRUSTED).ended).toMatchObject({ code: 0, report: 'writing\ndone\n' });
    const source = `${container.host}/usr/local/trusted-boot`;
    expect(container.calls()).toEqual([
      `mount --rbind ${container.host}/dev /dev`,
      `mount --rbind ${container.host}/run /run`,
      `mount --rbind ${container.image}/trusted-boot ${source}`,
      `chroot ${container.host}, HOST_DIR=, KUBERNETES_SERVICE_HOST=`,
      'kairos-agent',
      '<upgrade>',
      '<--source>',
      '<dir:/usr/local/trusted-boot>',
      `umount ${source}`,
    ]);
    expect(container.read('stubs/stamp-seen')).toBeUndefined();
    expect(container.read(`${LOCK}/outcome`)).toBe('0\n');
  });

  it('is done once in a boot, and tells of its failure', async () => {
    isUki();
    const ends = [await start(FROM, { ...TRUSTED, AGENT_ENDS: '1', AGENT_SAYS: 'bad signature' }).ended];
    ends.push(await start(FROM, TRUSTED).ended);
    expect(ends.map(({ code, report }) => [code, report.split('\n').at(-2)])).toEqual([
      [1, 'bad signature'],
      [1, 'bad signature'],
    ]);
    expect(agentRuns()).toBe(1);
  });

  it.each<[string, () => void, string]>([
    ['that turns out to have it', isUki, 'no'],
    [
      'that turns out to have it, by its command line',
      () => container.write('host/proc/cmdline', 'rd.immucore.uki'),
      'no',
    ],
    ['that turns out not to have it', () => container.write('host/proc/cmdline', 'root=LABEL=COS_ACTIVE'), 'yes'],
  ])('does nothing on one %s', async (_, machine, planned) => {
    machine();
    const ended = await upgrade({ TRUSTED_BOOT: planned });
    expect(ended.code).toBe(79);
    expect(ended.report).toMatch(
      /^made for a machine with trusted boot: (yes|no), but it has: (yes|no): nothing done\n$/,
    );
    expect(container.calls()).toEqual([]);
    expect(container.read(`${LOCK}/pid`)).toBeUndefined();
  });
});

describe('an exit code of kairos-agent that has a meaning here', () => {
  it.each(['74', '75', '76', '77', '78', '79'])('%s is told as a failure', async (code) => {
    expect(await upgrade({ AGENT_ENDS: code })).toMatchObject({
      code: 1,
      report: `writing\ndone\nkairos-agent ended with ${code}\n`,
    });
    expect((await upgrade()).code).toBe(1);
    expect(agentRuns()).toBe(1);
  });

  it('74 is given where no lock can be taken, and nothing is done', async () => {
    container.write('host/run/kairos-operator', 'a file');
    const ended = await upgrade();
    expect(ended.code).toBe(74);
    expect(ended.report).toMatch(/kairos-operator/);
    expect(container.calls()).toEqual([]);
  });
});

describe('the boot assessment that a failed image left open', () => {
  const OPEN = 'enable_boot_assessment=yes\nboot_assessment_tentative=yes\n';
  const CLOSED = 'enable_boot_assessment=yes\nboot_assessment_tentative=\n';

  it.each<[string, string, Record<string, string>, string]>([
    ['is closed once a new image is written', OPEN, {}, CLOSED],
    ['stays open when no image could be written', OPEN, { AGENT_ENDS: '1' }, OPEN],
    ['stays open when recovery was written: active still is the failed one', OPEN, { STEP: 'recovery' }, OPEN],
  ])('%s', async (_, before, env, after) => {
    container.write(ASSESSMENT, before);
    await upgrade(env);
    expect(container.read(ASSESSMENT)).toBe(after);
  });

  it('is not touched where there is none, nor where GRUB keeps none', async () => {
    await upgrade();
    container.boot('boot-2');
    container.write(ASSESSMENT, 'enable_boot_assessment=yes\n');
    await upgrade({ BOOT_ID: 'boot-2' });
    expect(container.calls('grub2-editenv')).toEqual([]);
  });

  it('that cannot be closed is told, and the image counts as written', async () => {
    container.write(ASSESSMENT, OPEN);
    container.write('bin/grub2-editenv', '#!/bin/sh\nexit 1\n');
    const ended = await upgrade();
    expect(ended.code).toBe(0);
    expect(ended.report).toMatch(/may fall back once more/);
  });
});

describe('the reboot', () => {
  const reboot = async () => container.run(REBOOT_SCRIPT).ended;

  it('is asked for in the boot that it was made for', async () => {
    expect((await reboot()).code).toBe(0);
    expect(container.calls()).toEqual(['reboot']);
  });

  it('is done once, however often it is repeated', async () => {
    await reboot();
    container.boot('boot-2');
    for (const _ of [1, 2])
      expect(await reboot()).toMatchObject({ code: 0, output: expect.stringMatching(/boot boot-2 already/) });
    expect(container.calls()).toEqual(['reboot']);
  });

  it('is not asked for where the boot cannot be read, and is tried again', async () => {
    container.write(
      'bin/nsenter',
      '#!/bin/sh\ncase "$*" in *reboot*) echo reboot >> "$STUBS/calls" ;; *) exit 1 ;; esac\n',
    );
    expect((await reboot()).code).toBe(1);
    expect(container.calls()).toEqual([]);
  });
});

describe('the forced reboot', () => {
  const force = async () => container.run(FORCED_REBOOT_SCRIPT).ended;

  it('brings to the disk what it can, and is asked for twice, the second time of the kernel', async () => {
    expect((await force()).code).toBe(0);
    expect(container.calls()).toEqual(['sync', 'reboot -f', 'reboot -f -f']);
  });

  it('does not wait for a file system that hangs', async () => {
    container.write('stubs/sync-hangs', '');
    const running = container.run(FORCED_REBOOT_SCRIPT);
    await container.until(() => container.calls('reboot -f -f').length === 1);
    container.delete('stubs/sync-hangs');
    expect((await running.ended).code).toBe(0);
  });

  it('is done in the boot that it was made for only', async () => {
    container.boot('boot-2');
    expect(await force()).toMatchObject({ code: 0, output: expect.stringMatching(/boot boot-2 already/) });
    expect(container.calls()).toEqual([]);
  });
});

describe('a pod that reads the node', () => {
  const CMDLINE = 'BOOT_IMAGE=(loop0)/boot/vmlinuz root=LABEL=COS_PASSIVE cos-img/filename=/cOS/passive.img panic=5';
  const RELEASE = [
    '# what kairos-init writes',
    'KAIROS_ARCH="amd64"',
    'KAIROS_RELEASE="v4.0.3"',
    'KAIROS_SOFTWARE_VERSION="v1.33.9+k3s1"',
    'export KAIROS_SOFTWARE_VERSION_PREFIX=k3s',
    `KAIROS_VERSION='v4.0.3'`,
    '',
  ].join('\n');
  const STAMP = { image: 'i', digest: `sha256:${'a'.repeat(64)}`, rollout: 'rollout/x', sourceBootID: 'boot-0' };

  beforeEach(() => {
    container.write('host/proc/sys/kernel/random/boot_id', 'boot-7\n');
    container.write('host/proc/cmdline', `${CMDLINE}\n`);
    container.write('host/etc/kairos-release', RELEASE);
    container.write('host/etc/kairos-operator/target', `${JSON.stringify(STAMP)}\n`);
  });

  const read = async () => {
    const { code, report } = await container.run(EVIDENCE_SCRIPT).ended;
    expect(code).toBe(0);
    expect(Buffer.byteLength(report)).toBeLessThanOrEqual(4096);
    return { report, evidence: parseNodeEvidence(report) };
  };
  const byAgent = async () => {
    const found = await readEvidence(container.host);
    const sourceBootID = found?.stamp?.sourceBootID;
    return {
      trustedBoot: found?.trustedBoot,
      loaderEntry: found?.loaderEntry,
      bootID: found?.bootID,
      bootState: found?.bootState,
      observedVersion: found?.observedVersion,
      stamp: found?.stamp && (sourceBootID === undefined ? {} : { sourceBootID }),
    };
  };

  it('says what its agent would say', async () => {
    const { evidence } = await read();
    expect(evidence).toMatchObject({
      bootID: 'boot-7',
      bootState: 'passive',
      observedVersion: 'v4.0.3-k3sv1.33.9+k3s1',
      stamp: { sourceBootID: 'boot-0' },
    });
    const { trustedBoot: _none, loaderEntry: _neither, ...expected } = await byAgent();
    expect(evidence).toMatchObject(expected);
  });

  it.each<[string, () => void]>([
    ['without a stamp', () => container.delete('host/etc/kairos-operator/target')],
    ['of which immucore tells the slot', () => sentinels('active_mode')],
    ['in recovery', () => sentinels('recovery_mode')],
    [
      'whose release files are links of the machine',
      () => {
        container.delete('host/etc/kairos-release');
        container.write('host/usr/lib/os-release', 'ID=old\nKAIROS_VERSION="v3.2.4-v1.32.0-k3s1"\n');
        symlinkSync('/usr/lib/os-release', join(container.folder, 'host/etc/os-release'));
      },
    ],
    [
      'that names its release through relative links',
      () => {
        container.delete('host/etc/kairos-release');
        container.write('host/usr/lib/kairos-release', RELEASE);
        symlinkSync('../usr/lib/kairos-release', join(container.folder, 'host/etc/kairos-release'));
      },
    ],
    ['with trusted boot', () => trustedBoot({ LoaderEntrySelected: 'passive+2-1.conf', LoaderDevicePartUUID: 'a' })],
    ['with trusted boot, started from a medium', () => trustedBoot({ LoaderEntrySelected: 'active.conf' })],
    ['with trusted boot, whose firmware says nothing', () => trustedBoot({})],
  ])('says what its agent would say, on a machine %s', async (_, change) => {
    change();
    const expected = await byAgent();
    expect(expected.observedVersion).toBeDefined();
    const { trustedBoot, loaderEntry, bootID, bootState, observedVersion, stamp } = (await read()).evidence ?? {};
    expect({ trustedBoot, loaderEntry, bootID, bootState, observedVersion, stamp }).toEqual(expected);
  });

  function sentinels(...names: string[]): void {
    container.write('host/proc/cmdline', 'console=tty1\n');
    for (const name of names) container.write(`host/run/cos/${name}`, '1\n');
  }

  function trustedBoot(variables: Record<string, string>): void {
    container.write('host/proc/cmdline', 'console=tty1 rd.immucore.uki net.ifnames=1\n');
    container.write('host/run/cos/uki_boot_mode', '1\n');
    for (const [name, text] of Object.entries(variables)) {
      const value = Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from(`${text}\0`, 'utf16le')]);
      container.write(`host/sys/firmware/efi/efivars/${name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f`, value);
    }
  }

  it('keeps to what the API holds, however much a machine has to say', async () => {
    const long = (key: string) => `${key}="${'v'.repeat(5000)}"\n`;
    const many = Array.from({ length: 500 }, (_, index) => `KAIROS_VERSION="v4.${index + 100}${'0'.repeat(126)}"\n`);
    container.write('host/etc/kairos-release', `${many.join('')}${long('KAIROS_RELEASE')}`);
    container.write('host/proc/cmdline', `${CMDLINE} ${'noise '.repeat(3000)}\n`);
    container.write('host/etc/kairos-operator/target', `{"sourceBootID":"${'b'.repeat(5000)}"}\n`);
    for (const name of ['active_mode', 'passive_mode']) container.write(`host/run/cos/${name}`, '1\n');
    const { evidence } = await read();
    expect(evidence).toMatchObject({ bootID: 'boot-7', bootState: 'passive' });
    expect(evidence?.release).not.toHaveProperty('KAIROS_RELEASE');
  });

  it('proves nothing on a machine that is not Kairos', async () => {
    container.write('host/etc/kairos-release', 'ID=debian\n');
    const { report, evidence } = await read();
    expect(evidence).toBeUndefined();
    expect(report).toMatch(/^boot-id boot-7\n/);
  });
});
