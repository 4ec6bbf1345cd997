import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { cachedPath } from '../../tools/go-build.ts';
import { PINNED, TOOL_NAMES } from '../../tools/pinned.ts';
import { progressOn } from '../../tools/progress.ts';
import { findTool, type ResolveOptions } from '../../tools/resolve.ts';

const wanted = PINNED.kwok.version;
let folder: string;
let lines: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kairos-resolve-'));
  lines = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function script(path: string, body: string): Promise<string> {
  const file = join(folder, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\nPATH=/usr/bin:/bin\n${body}\n`);
  await chmod(file, 0o755);
  return file;
}

/** A compiler that writes a program answering `version`, and counts its runs. */
const fakeGo = (version = wanted, seconds = 0): Promise<string> =>
  script(
    'go/go',
    `[ "$1" = version ] && exit 0
     echo run >> ${folder}/runs
     while [ "$1" != -o ]; do shift; done
     printf '#!/bin/sh\\n' > "$2"; sleep ${seconds}
     printf 'echo kwok version v${version}\\n' >> "$2"; chmod 755 "$2"`,
  );
const runs = async (): Promise<number> => (await readFile(join(folder, 'runs'), 'utf8')).split('\n').length - 1;

const options = (path: string[], env: Record<string, string> = {}): ResolveOptions => ({
  env: { PATH: path.map((part) => join(folder, part)).join(':'), XDG_CACHE_HOME: join(folder, 'cache'), ...env },
  progress: progressOn({ isTTY: false, write: (text: string) => lines.push(text) > 0 }),
});

describe('a tool is looked for', () => {
  it('first in its environment variable, whatever its version', async () => {
    const given = await script('mine/kwok', 'echo 9.9.9');
    expect(await findTool('kwok', options([], { KWOK_PATH: given }))).toBe(given);
  });

  it('and a variable that names nothing is an error, not a reason to look elsewhere', async () => {
    await expect(findTool('kwok', options([], { KWOK_PATH: '/nowhere/kwok' }))).rejects.toThrow(
      'KWOK_PATH=/nowhere/kwok is not an executable file',
    );
  });

  it('then on PATH, where another minor version is passed over aloud', async () => {
    await script('old/kwok', 'echo kwok version v0.3.0');
    await script('broken/kwok', 'exit 1');
    const found = await script('new/kwok', `echo kwok version v${wanted.replace(/\d+$/, '77')}`);
    expect(await findTool('kwok', options(['old', 'broken', 'new']))).toBe(found);
    expect(lines).toEqual([
      `kwok: passed over ${folder}/old/kwok: it is 0.3.0, wanted 0.8\n`,
      `kwok: passed over ${folder}/broken/kwok: it is of no known version, wanted 0.8\n`,
    ]);
  });

  it('and in KUBEBUILDER_ASSETS before PATH', async () => {
    const asset = await script('assets/etcd', `echo etcd Version: ${PINNED.etcd.version}`);
    await script('bin/etcd', `echo etcd Version: ${PINNED.etcd.version}`);
    expect(await findTool('etcd', options(['bin'], { KUBEBUILDER_ASSETS: join(folder, 'assets') }))).toBe(asset);
  });

  it('and is built into the cache once', async () => {
    await fakeGo();
    const first = await findTool('kwok', options(['go']));
    expect(await findTool('kwok', options(['go']))).toBe(first);
    expect(first).toMatch(/cache\/kairos-operator\/toolchain\/[0-9a-f]{16}\/kwok$/);
    expect(await runs()).toBe(1);
    expect(await readdir(dirname(first))).toEqual(['kwok']);
    expect(lines).toEqual([`building kwok ${wanted} ...\n`, expect.stringMatching(/: done in \d+ s\n$/)]);
  });
});

describe('a build', () => {
  it('happens once for two callers at once, and neither sees it half-written', async () => {
    await fakeGo(wanted, 0.5);
    const [one, two] = await Promise.all([findTool('kwok', options(['go'])), findTool('kwok', options(['go']))]);
    expect(one).toBe(two);
    expect(await runs()).toBe(1);
    expect(await readFile(one, 'utf8')).toContain(wanted);
    expect(lines.join('')).toContain('which is building it');
  });

  it('takes over the lock of a dead process and clears what it left', async () => {
    await fakeGo();
    const binary = await cachedPath('kwok', options(['go']) as Required<ResolveOptions>);
    await mkdir(dirname(binary), { recursive: true });
    await writeFile(`${binary}.lock`, '999999999\n');
    await writeFile(join(dirname(binary), '.kwok.partial.999999999'), 'half');
    await findTool('kwok', options(['go']));
    expect(await readdir(dirname(binary))).toEqual(['kwok']);
  });

  it('waits for the lock of a living process', async () => {
    await fakeGo();
    const binary = await cachedPath('kwok', options(['go']) as Required<ResolveOptions>);
    await mkdir(dirname(binary), { recursive: true });
    await writeFile(`${binary}.lock`, `${process.pid}\n`);
    const found = findTool('kwok', options(['go']));
    await sleep(300);
    expect(await readdir(dirname(binary))).toEqual(['kwok.lock']);
    await rm(`${binary}.lock`);
    expect(await found).toBe(binary);
  });

  it('of another version than the pinned one does not enter the cache', async () => {
    await fakeGo('0.1.0');
    await expect(findTool('kwok', options(['go']))).rejects.toThrow('answers version 0.1.0 instead of');
    const binary = await cachedPath('kwok', options(['go']) as Required<ResolveOptions>);
    expect(await readdir(dirname(binary))).not.toContain('kwok');
  });

  it('that fails shows what the compiler said, and what else helps', async () => {
    await script('go/go', '[ "$1" = version ] && exit 0; echo "go: go.mod requires go >= 1.26" >&2; exit 1');
    const failure = findTool('etcd', options(['go']));
    await expect(failure).rejects.toThrow(
      /requires go >= 1\.26\nThe Go on PATH is too old\. Install Go 1\.26 or newer .*ETCD_PATH.*KUBEBUILDER_ASSETS/,
    );
  });

  it('without Go says what to install', async () => {
    await mkdir(join(folder, 'empty'));
    await expect(findTool('temporal', options(['empty']))).rejects.toThrow(
      /there is no Go to build it with\.\nInstall Go 1\.26 or newer .*TEMPORAL_CLI_PATH/,
    );
  });
});

describe('the pinned modules', () => {
  it.each(TOOL_NAMES)('of %s pin the version and list the package', async (name) => {
    const { module, package: path, version } = PINNED[name];
    const goMod = await readFile(join(import.meta.dirname, '../../tools/toolchain', module, 'go.mod'), 'utf8');
    expect(goMod).toContain(`module kairos-operator/tools/${module}\n`);
    expect(goMod).toMatch(new RegExp(`^(tool |\\t)${path}$`, 'm'));
    const required = [...goMod.matchAll(/^\s*(\S+) v([0-9.]+)\b/gm)].find(([, dependency]) =>
      path.startsWith(dependency ?? '-'),
    );
    expect(required?.[2]).toBe(version);
  });
});
