import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { kairosImage } from '../sim/images.ts';

/** An operating system image for machines of the rig. */
export interface SystemImage {
  readonly reference: string;
  /** Such as `v4.0.3`. Undefined: not a Kairos image. */
  readonly version: string | undefined;
  /** Whether a machine gets as far as userspace with it. */
  readonly boots: boolean;
}

export interface BuiltImage extends SystemImage {
  /** For `ctr images import`. */
  readonly archive: string;
  /** A tar of its root, to install a machine from. */
  readonly root: string;
}

const RIG_OS = fileURLToPath(new URL('os', import.meta.url));
const SUITE = 'bookworm';
const BASE = 'localhost/rig-base';
/** Of no use in a container, and half of its size. */
const LEFT_OUT = [
  'dev',
  'proc',
  'sys',
  'var/cache/apt',
  'var/lib/apt/lists',
  'var/log',
  'usr/share/doc',
  'usr/share/man',
  'usr/share/locale',
  'usr/share/info',
];

/**
 * Builds the images with buildah from os/Dockerfile on a Debian made by debootstrap. What was built before from the same
 * sources is taken from the cache. Throws with what the programs said.
 */
export function buildSystemImages(images: readonly SystemImage[], log: (line: string) => void): BuiltImage[] {
  const cache = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'kairos-operator', 'rig');
  mkdirSync(cache, { recursive: true });
  const sources = readdirSync(RIG_OS)
    .toSorted()
    .map((name) => readFileSync(path.join(RIG_OS, name), 'utf8'));
  return images.map((image) => {
    const key = createHash('sha256')
      .update(JSON.stringify([SUITE, LEFT_OUT, sources, image, releaseFiles(image)]))
      .digest('hex');
    const stem = path.join(cache, key.slice(0, 16));
    const built = { ...image, archive: `${stem}.tar`, root: `${stem}.root.tar` };
    if (!existsSync(built.archive) || !existsSync(built.root)) {
      log(`building ${image.reference}`);
      build(built, baseArchive(cache, log));
    }
    return built;
  });
}

/** A Debian of few packages, as a tar of its root; made once. */
function baseArchive(cache: string, log: (line: string) => void): string {
  const archive = path.join(cache, `debian-${SUITE}.tar`);
  if (existsSync(archive)) return archive;
  log(`debootstrap ${SUITE} ...`);
  const folder = mkdtempSync(path.join(tmpdir(), 'rig-debian-'));
  try {
    run('debootstrap', '--variant=minbase', '--include=grub-common', SUITE, path.join(folder, 'root'));
    for (const name of LEFT_OUT) {
      rmSync(path.join(folder, 'root', name), { recursive: true, force: true });
      mkdirSync(path.join(folder, 'root', name));
    }
    run('tar', '-C', path.join(folder, 'root'), '-cf', `${archive}.half`, '.');
    renameSync(`${archive}.half`, archive);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return archive;
}

function build({ archive, root, ...image }: BuiltImage, base: string): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'rig-image-'));
  const store = [
    '--root',
    path.join(folder, 'store'),
    '--runroot',
    path.join(folder, 'run'),
    '--storage-driver',
    'vfs',
  ];
  const buildah = (...args: string[]) => run('buildah', ...store, ...args).trim();
  const context = path.join(folder, 'context');
  try {
    cpSync(RIG_OS, context, { recursive: true });
    mkdirSync(path.join(context, 'release'));
    for (const [name, text] of Object.entries(releaseFiles(image)))
      writeFileSync(path.join(context, 'release', name), text);
    const container = buildah('from', 'scratch');
    buildah('add', '-q', container, base, '/');
    buildah('commit', '-q', container, BASE);
    const init = image.boots ? 'init' : 'init-that-panics';
    buildah(
      'bud',
      '-q',
      '--build-arg',
      `BASE=${BASE}`,
      '--build-arg',
      `INIT=${init}`,
      '-t',
      'localhost/image',
      context,
    );
    buildah('push', '-q', 'localhost/image', `docker-archive:${archive}.half:${image.reference}`);
    const mounted = buildah('mount', buildah('from', 'localhost/image'));
    run('tar', '-C', mounted, '-cf', `${root}.half`, '.');
    buildah('umount', '--all');
    renameSync(`${root}.half`, root);
    renameSync(`${archive}.half`, archive);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The version of Kubernetes that the images claim, as the machines really run it. */
export const KUBERNETES = 'v1.36.3+k3s1';

function releaseFiles({ reference, version }: SystemImage): Record<string, string> {
  if (version === undefined) return { 'os-release': 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian of no Kairos"\n' };
  const { kairosRelease = {}, osRelease = {} } = kairosImage(reference, version, { kubernetes: KUBERNETES });
  const text = (fields: Readonly<Record<string, string>>) =>
    Object.keys(fields)
      .toSorted()
      .map((key) => `${key}="${fields[key]}"\n`)
      .join('');
  const own = { KAIROS_FAMILY: 'debian', KAIROS_FLAVOR: 'debian', KAIROS_NAME: 'kairos-standard-debian-12' };
  return {
    'kairos-release': text({ ...kairosRelease, ...own }),
    'os-release': text({ ...osRelease, ID: 'debian', VERSION_ID: '12', PRETTY_NAME: `Kairos ${version} of the rig` }),
  };
}

function run(program: string, ...args: string[]): string {
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new Error(`${program} ${args.join(' ')}: ${stderr?.slice(-2000) ?? String(error)}`, { cause: error });
  }
}
