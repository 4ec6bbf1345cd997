import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { UPGRADE_SCRIPT } from '../../activities/scripts.ts';
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
