/**
 * Builds the images that a cluster under test runs, and prints one line for each: `name<TAB>archive`. The archives are
 * what `docker load` and `ctr -n k8s.io images import` take. What has been built from the same content is not built again.
 */
import { createHash } from 'node:crypto';
import { access, mkdir, readFile, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { cacheFolder } from '../cache.ts';
import { withLock } from '../lock.ts';
import { progressOn, type Progress } from '../progress.ts';
import { resolveTool } from '../resolve.ts';
import { ImageStore } from './buildah.ts';
import { dockerfileOf, ImageError, layContext, type Image } from './context.ts';
import { SUITE, unpackDebian } from './debian.ts';
import { buildStandIn, NODE_BASE, PAUSE, TEMPORAL, TEMPORAL_UI, type StandIn } from './stand-ins.ts';

export interface Archive {
  /** As pods name the image. */
  readonly name: string;
  readonly file: string;
}

/** Earlier contents that are kept of each image: other checkouts on this machine use the same cache. */
const KEPT = 6;
const OURS: Readonly<Record<Image, string>> = { operator: 'kairos-operator:test', agent: 'kairos-operator-agent:test' };
/** What a name without a registry means to Kubernetes and Docker; buildah would take it for one of this machine. */
const DEFAULT_REGISTRY = 'docker.io/library/';

/** @throws ImageError, ToolError: what is missing and what to type */
export async function buildImages(
  progress: Progress = progressOn(),
  further: readonly StandIn[] = [],
): Promise<Archive[]> {
  const folder = join(cacheFolder(), 'images');
  await mkdir(folder, { recursive: true });
  const recipe = await hashOf([import.meta.dirname]);
  const node = join(import.meta.dirname, `../../node_modules/node-linux-${process.arch}/package.json`);
  const base = await hashOf([node], recipe);
  const unpacked = await hashOf([join(import.meta.dirname, 'debian.ts')]);
  const debian = join(folder, `debian-${SUITE}-${unpacked.slice(0, 16)}`);
  const debianRoot = () =>
    once(debian, progress, () => progress.during(`unpacking Debian ${SUITE}`, () => unpackDebian(debian)));

  const archives: Archive[] = [];
  const archive = async (name: string, key: string, build: (store: ImageStore, name: string) => Promise<void>) => {
    const title = name.replaceAll(/[/:]/g, '-');
    const file = join(folder, `${title}.${key.slice(0, 16)}.tar`);
    await once(file, progress, async () => {
      await debianRoot();
      await progress.during(`building ${name}`, async () => {
        await using store = await ImageStore.open(folder);
        const whole = name.includes('/') ? name : `${DEFAULT_REGISTRY}${name}`;
        await build(store, whole);
        await store.export(whole, `${file}.half`);
        await rename(`${file}.half`, file);
      });
    });
    await utimes(file, new Date(), new Date());
    await forget(folder, title);
    archives.push({ name, file });
  };

  for (const [image, name] of Object.entries(OURS) as [Image, string][]) {
    const context = await layContext(image);
    const dockerfile = dockerfileOf(image);
    await archive(name, await hashOf([context, dockerfile], base), async (store, name) => {
      await buildStandIn(NODE_BASE, debian, store);
      await store.build({ name, dockerfile, context, buildArgs: { BASE: NODE_BASE.name } });
    });
  }
  const standIn = async (one: StandIn, key: string) =>
    await archive(one.name, key, (store, name) => buildStandIn({ ...one, name }, debian, store));
  await standIn(TEMPORAL, await hashOf([await resolveTool('temporal')], recipe));
  await standIn(TEMPORAL_UI, await hashOf([await resolveTool('temporal-ui')], recipe));
  await standIn(PAUSE, recipe);
  for (const one of further) await standIn(one, await hashOf([await resolveTool('temporal')], recipe));
  return archives;
}

/** Makes what is not there yet; of several processes only one does. */
async function once(path: string, progress: Progress, make: () => Promise<void>): Promise<void> {
  const isDone = () =>
    access(path).then(
      () => true,
      () => false,
    );
  const onWait = (pid: number) => progress.say(`${path}: waiting for process ${pid}, which is making it`);
  if (!(await isDone())) await withLock(`${path}.lock`, make, { isDone, onWait });
}

/** Of files and whole folders: names, modes and content. */
async function hashOf(paths: readonly string[], seed = ''): Promise<string> {
  const hash = createHash('sha256').update(seed);
  for (const path of paths) {
    const isFile = (await stat(path)).isFile();
    const names = isFile ? [path] : await readdir(path, { recursive: true, encoding: 'utf8' });
    for (const file of names.map((name) => (isFile ? name : join(path, name))).sort()) {
      const { mode } = await stat(file);
      hash.update(`${relative(dirname(path), file)}\0${mode}\0`);
      if ((await stat(file)).isFile())
        hash.update(
          createHash('sha256')
            .update(await readFile(file))
            .digest(),
        );
    }
  }
  return hash.digest('hex');
}

/** Removes the oldest archives of an image. */
async function forget(folder: string, title: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.startsWith(`${title}.`) && name.endsWith('.tar'));
  const aged = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })));
  for (const { name } of aged.sort((a, b) => b.at - a.at).slice(KEPT)) await rm(join(folder, name), { force: true });
}

if (import.meta.main) {
  try {
    for (const { name, file } of await buildImages()) console.log(`${name}\t${file}`);
  } catch (error) {
    if (!(error instanceof ImageError) && (error as Error).name !== 'ToolError') throw error;
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
