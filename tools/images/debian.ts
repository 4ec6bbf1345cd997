import { execFile } from 'node:child_process';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ImageError } from './context.ts';

const run = promisify(execFile);

/** As the Dockerfiles' base; what of it node and the SDK's native module link, and a shell for the stand-ins. */
export const SUITE = 'trixie';
const PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6', 'busybox-static', 'base-files'];

/**
 * Unpacks Debian into the folder, by debootstrap, from the mirror that apt uses. Nothing in it is run: no package is
 * configured, which files taken from it do not need.
 * @throws ImageError that says what is missing
 */
export async function unpackDebian(folder: string): Promise<void> {
  const mirror = await aptMirror();
  const half = `${folder}.${process.pid}`;
  const options = ['--foreign', '--variant=minbase', `--include=${PACKAGES.join(',')}`];
  try {
    await mkdir(half, { recursive: true });
    await run('debootstrap', [...options, SUITE, half, mirror], { maxBuffer: 1 << 26 });
    // The first stage unpacks what is required, and only fetches the rest.
    const archives = join(half, 'var/cache/apt/archives');
    const names = (await readdir(archives)).filter((name) => PACKAGES.some((one) => name.startsWith(`${one}_`)));
    for (const name of names) await run('dpkg-deb', ['--extract', join(archives, name), half]);
    await rename(half, folder);
  } catch (error) {
    const { code, stderr, stdout, message } = error as NodeJS.ErrnoException & { stderr?: string; stdout?: string };
    if (code === 'ENOENT')
      throw new ImageError('debootstrap is missing: install it (apt-get install debootstrap); it needs root');
    const words = `${stdout ?? ''}${stderr ?? message}`.trim().split('\n').slice(-4).join('\n');
    throw new ImageError(`debootstrap of ${SUITE} from ${mirror} failed; it needs root and the mirror:\n${words}`, {
      cause: error,
    });
  } finally {
    await rm(half, { recursive: true, force: true });
  }
}

async function aptMirror(): Promise<string> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages']).catch(
    () => ({ stdout: '' }),
  );
  const mirror = stdout.split('\n').find((line) => /\/debian\/?$/.test(line));
  if (mirror === undefined)
    throw new ImageError('apt names no mirror of Debian: run apt-get update on a Debian machine');
  return mirror;
}
