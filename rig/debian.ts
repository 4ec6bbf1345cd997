import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { ImageError } from '../tools/images/context.ts';

const run = promisify(execFile);

export const SUITE = 'bookworm';
/** GRUB's own program for its environment files, which the upgrade Job calls. */
const PACKAGES = ['grub-common'];
/** Of no use in a container, and half of the size. */
const LEFT_OUT = ['dev', 'proc', 'sys', 'var/cache/apt', 'var/lib/apt/lists', 'var/log'];
const DOCUMENTS = ['doc', 'man', 'locale', 'info'].map((name) => `usr/share/${name}`);

/**
 * A small Debian with a shell, as a tar of its root in the folder `cache`; made by debootstrap where it is not there.
 * @throws ImageError that says what failed
 */
export async function packDebian(cache: string, log: (line: string) => void): Promise<string> {
  const archive = path.join(cache, `debian-${SUITE}.tar`);
  if (existsSync(archive)) return archive;
  log(`debootstrap ${SUITE} ...`);
  const folder = await mkdtemp(path.join(tmpdir(), 'kairos-debian-'));
  const root = path.join(folder, 'root');
  try {
    await run('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, root], {
      maxBuffer: 1 << 26,
    });
    for (const name of [...LEFT_OUT, ...DOCUMENTS]) {
      await rm(path.join(root, name), { recursive: true, force: true });
      await mkdir(path.join(root, name));
    }
    await run('tar', ['-C', root, '-cf', `${archive}.half`, '.']);
    await rename(`${archive}.half`, archive);
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const words = (stderr ?? message).trim().split('\n').slice(-4).join('\n');
    throw new ImageError(`debootstrap of ${SUITE} failed; it needs root and a mirror of Debian:\n${words}`, {
      cause: error,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return archive;
}
