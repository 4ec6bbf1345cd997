import { createHash } from 'node:crypto';
import { cp, link, mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { kairosImage } from '../sim/images.ts';
import { cacheFolder } from '../tools/cache.ts';
import { ImageStore } from '../tools/images/buildah.ts';
import { packDebian, SUITE } from './debian.ts';

/** An operating system image for machines of the rig. */
export interface SystemImage {
  readonly reference: string;
  /** Such as `v4.0.3`. Undefined: not a Kairos image. */
  readonly version: string | undefined;
  /** Whether a machine gets as far as userspace with it. */
  readonly boots: boolean;
}

export interface BuiltImage extends SystemImage {
  /** For `ctr images import`, and to install a machine from. */
  readonly archive: string;
}

/** The version of Kubernetes that the images claim: the one that the machines really run. */
export const KUBERNETES = 'v1.36.3+k3s1';
const RIG_OS = fileURLToPath(new URL('os', import.meta.url));

/**
 * Builds the images with buildah from os/Dockerfile on a Debian made by debootstrap. What was built before from the same
 * sources is taken from the cache.
 * @throws ImageError: what is missing, or what the program said
 */
export async function buildSystemImages(
  images: readonly SystemImage[],
  log: (line: string) => void,
): Promise<BuiltImage[]> {
  const cache = path.join(cacheFolder(), 'rig');
  await mkdir(cache, { recursive: true });
  const names = (await readdir(RIG_OS)).toSorted();
  const sources = await Promise.all(names.map((name) => readFile(path.join(RIG_OS, name), 'utf8')));
  const built: BuiltImage[] = [];
  for (const image of images) {
    const key = createHash('sha256')
      .update(JSON.stringify([SUITE, sources, image, releaseFiles(image)]))
      .digest('hex');
    const archive = path.join(cache, `${key.slice(0, 16)}.tar`);
    if (!existsSync(archive)) {
      log(`building ${image.reference} ...`);
      await build(image, await packDebian(cache, log), archive);
    }
    built.push({ ...image, archive });
  }
  return built;
}

async function build(image: SystemImage, debian: string, archive: string): Promise<void> {
  await using store = await ImageStore.open(path.dirname(archive));
  const context = store.work;
  await cp(RIG_OS, context, { recursive: true });
  await link(debian, path.join(context, 'debian.tar'));
  await mkdir(path.join(context, 'release'));
  for (const [name, text] of Object.entries(releaseFiles(image)))
    await writeFile(path.join(context, 'release', name), text);
  const name = image.reference;
  const buildArgs = { INIT: image.boots ? 'init' : 'init-that-panics' };
  await store.build({ name, dockerfile: path.join(context, 'Dockerfile'), context, buildArgs });
  await store.export(name, `${archive}.half`);
  await rename(`${archive}.half`, archive);
}

function releaseFiles({ reference, version }: SystemImage): Record<string, string> {
  if (version === undefined)
    return { 'os-release': 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian, and no Kairos"\n' };
  const { kairosRelease = {}, osRelease = {} } = kairosImage(reference, version, { kubernetes: KUBERNETES });
  const own = { KAIROS_FAMILY: 'debian', KAIROS_FLAVOR: 'debian', KAIROS_NAME: 'kairos-standard-debian-12' };
  return {
    'kairos-release': releaseText({ ...kairosRelease, ...own }),
    'os-release': releaseText({ ...osRelease, ID: 'debian', VERSION_ID: '12', PRETTY_NAME: `Kairos ${version}` }),
  };
}

function releaseText(fields: Readonly<Record<string, string>>): string {
  const lines = Object.keys(fields)
    .toSorted()
    .map((key) => `${key}="${fields[key]}"\n`);
  return lines.join('');
}
