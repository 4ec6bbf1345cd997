/**
 * Writes what each image is made of besides its base: `build/sbom/IMAGE.cdx.json`, CycloneDX, from what npm says of the
 * installed packages and what the bundles really hold of them.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { FILE_TIME, ImageError, IMAGES, type Image } from './context.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');

/** Written by the build: the packages whose code is in the operator's image, as folders from the root. */
export const PACKAGES_FILE = join(ROOT, 'build/packages.json');

interface Component {
  readonly 'bom-ref': string;
  readonly [field: string]: unknown;
}

export interface Sbom {
  readonly metadata: { readonly component: Component; readonly [field: string]: unknown };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
  readonly [field: string]: unknown;
}

/**
 * Of npm's whole list what is in the image. The same for the same content: without a serial number, with the time that
 * the image's files have.
 * @param held `name@version` of each package in the image
 * @throws ImageError for a package that npm does not list
 */
export function sbomOf(image: Image, whole: Sbom, held: ReadonlySet<string>): Sbom {
  const { serialNumber: _, metadata, components, dependencies, ...rest } = whole;
  const known = new Set(components.map((component) => component['bom-ref']));
  const strangers = [...held].filter((ref) => !known.has(ref));
  if (strangers.length > 0)
    throw new ImageError(
      `${strangers.join(', ')}: in the image ${image}, and unknown to npm: remove node_modules and run make build`,
    );
  const own = metadata.component['bom-ref'];
  const isHere = (ref: string) => ref === own || held.has(ref);
  const name = image === 'operator' ? 'kairos-operator' : `kairos-operator-${image}`;
  return {
    ...rest,
    metadata: {
      ...metadata,
      timestamp: new Date(FILE_TIME * 1000).toISOString(),
      component: { ...metadata.component, type: 'application', name },
    },
    components: components.filter((component) => held.has(component['bom-ref'])),
    dependencies: dependencies
      .filter(({ ref }) => isHere(ref))
      .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter(isHere) })),
  };
}

async function held(image: Image): Promise<Set<string>> {
  // One file of our own, on Node's modules alone; a test sees to it.
  if (image === 'agent') return new Set();
  const text = await readFile(PACKAGES_FILE, 'utf8').catch(() => {
    throw new ImageError('build/packages.json is missing: run make build');
  });
  const packages = JSON.parse(text) as string[];
  const named = packages.map(async (folder) => {
    const manifest = await readFile(join(ROOT, folder, 'package.json'), 'utf8');
    const { name, version } = JSON.parse(manifest) as { name: string; version: string };
    return `${name}@${version}`;
  });
  return new Set(await Promise.all(named));
}

/** Writes the files; answers their names. */
export async function writeSboms(): Promise<string[]> {
  // Not with --omit=dev, which leaves out what a development tool uses as well.
  const { stdout } = await run('npm', ['sbom', '--sbom-format=cyclonedx'], { cwd: ROOT, maxBuffer: 1 << 26 });
  const whole = JSON.parse(stdout) as Sbom;
  await mkdir(join(ROOT, 'build/sbom'), { recursive: true });
  const files: string[] = [];
  for (const image of IMAGES) {
    const file = `build/sbom/${image}.cdx.json`;
    await writeFile(join(ROOT, file), `${JSON.stringify(sbomOf(image, whole, await held(image)), null, 2)}\n`);
    files.push(file);
  }
  return files;
}

if (import.meta.main) {
  try {
    for (const file of await writeSboms()) console.log(file);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
