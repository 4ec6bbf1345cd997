import { existsSync } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, readdir, rename, rm, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ARCHITECTURES, NATIVE_TARGETS, PROGRAMS, SOURCE_MAP_WASM } from '../programs.ts';
import { WORKFLOW_THREAD } from '../temporal-in-one-file.ts';

const ROOT = join(import.meta.dirname, '../..');
const BUILD = join(ROOT, 'build');

export const IMAGES = ['operator', 'agent'] as const;
export type Image = (typeof IMAGES)[number];

/** The time of every file in an image, in seconds since 1970: the images of two builds must not differ by when. */
export const FILE_TIME = Number(process.env['SOURCE_DATE_EPOCH'] ?? 0);

export const dockerfileOf = (image: Image) => join(ROOT, 'deploy/images', image, 'Dockerfile');
export const contextOf = (image: Image) => join(BUILD, 'image', image);

/** A build that did not happen; the message says what to type. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
}

/** From the folder of builds → to the context of the image. */
function filesOf(image: Image): [string, string][] {
  if (image === 'agent') return [['agent.mjs', 'common/agent.mjs']];
  const programs = PROGRAMS.filter((program) => existsSync(join(ROOT, program, 'main.ts')));
  const beside = ['workflow-bundle.js', WORKFLOW_THREAD, SOURCE_MAP_WASM, 'licenses.txt'];
  const common = [...programs.map((name) => `${name}.mjs`), ...beside];
  return [
    ...common.map((file): [string, string] => [file, `common/${file}`]),
    ...ARCHITECTURES.map((architecture): [string, string] => {
      const native = `releases/${NATIVE_TARGETS[architecture]}/index.node`;
      return [native, `${architecture}/${native}`];
    }),
  ];
}

/**
 * Lays what the Dockerfile copies, with the modes and times that it has in every build.
 * @throws ImageError where a file has not been built
 */
export async function layContext(image: Image): Promise<string> {
  const context = contextOf(image);
  const half = `${context}.${process.pid}`;
  try {
    for (const [from, to] of filesOf(image)) {
      const target = join(half, to);
      await mkdir(dirname(target), { recursive: true });
      await copyFile(join(BUILD, from), target).catch((error: NodeJS.ErrnoException) => {
        throw error.code === 'ENOENT' ? new ImageError(`build/${from} is missing: run make build`) : error;
      });
    }
    await levelTree(half);
    await rm(context, { recursive: true, force: true });
    await rename(half, context);
  } finally {
    await rm(half, { recursive: true, force: true });
  }
  return context;
}

/** The same modes and times for a whole folder, whatever the umask and the clock of who made it. */
export async function levelTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await levelTree(path);
    else if (entry.isFile()) {
      await chmod(path, (await lstat(path)).mode & 0o111 ? 0o755 : 0o644);
      await utimes(path, FILE_TIME, FILE_TIME);
    }
  }
  await chmod(folder, 0o755);
  await utimes(folder, FILE_TIME, FILE_TIME);
}

if (import.meta.main) {
  try {
    for (const image of IMAGES) console.log(await layContext(image));
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
