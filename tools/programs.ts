import { copyFile, mkdir, rename } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { build, type BuildOptions } from 'esbuild';
import { WORKFLOW_THREAD, runFromOneFile } from './temporal-in-one-file.ts';

const ROOT = join(import.meta.dirname, '..');

/** The programs of the operator's image, by the folder of their main.ts. The agent builds itself. */
export const PROGRAMS = ['watcher', 'worker', 'uninstall', 'check'] as const;

/** What the packages below need beside the bundles when they run. */
export const SOURCE_MAP_WASM = 'mappings.wasm';

/** The architectures that images are built for: as container tools name them → as the SDK names its native module. */
export const NATIVE_TARGETS = { amd64: 'x86_64-unknown-linux-gnu', arm64: 'aarch64-unknown-linux-gnu' } as const;
export type Architecture = keyof typeof NATIVE_TARGETS;
export const ARCHITECTURES = Object.keys(NATIVE_TARGETS) as readonly Architecture[];

export interface Bundle {
  /** From the root of the repository. */
  readonly file: string;
  readonly bytes: number;
  /** The packages of which it holds code, as folders from the root of the repository, sorted. */
  readonly packages: readonly string[];
}

/** CommonJS packages find in here what they expect; the folder is that of the bundle, not of the package. */
const BANNER = [
  `import { createRequire as createRequireOfBundle } from 'node:module';`,
  'const require = createRequireOfBundle(import.meta.url);',
  'const __dirname = import.meta.dirname;',
  'const __filename = import.meta.filename;',
].join('\n');

/** Not minified: a stack trace in the log must name the function that failed. */
const OPTIONS = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node24',
  keepNames: true,
  charset: 'utf8',
  // Whole, in a file of their own: licenses.txt.
  legalComments: 'none',
  banner: { js: BANNER },
  plugins: [runFromOneFile],
  metafile: true,
  logLevel: 'silent',
} satisfies BuildOptions;

/**
 * Bundles the operator's programs that exist into one folder: one file each, and beside them what the Temporal SDK
 * reads at run time: the code of its workflow threads, the reader of source maps, its native modules for Linux.
 * @throws Error where esbuild warns, or where the SDK is no longer as {@link runFromOneFile} knows it
 */
export async function buildPrograms(folder = join(ROOT, 'build')): Promise<Bundle[]> {
  const worker = createRequire(createRequire(import.meta.url).resolve('@temporalio/worker'));
  const bridge = dirname(worker.resolve('@temporalio/core-bridge'));
  await place(worker.resolve('source-map/lib/mappings.wasm'), join(folder, SOURCE_MAP_WASM));
  for (const target of Object.values(NATIVE_TARGETS)) {
    const native = join('releases', target, 'index.node');
    await place(join(bridge, native), join(folder, native));
  }
  const programs = PROGRAMS.map((program) => ({ entry: join(ROOT, program, 'main.ts'), file: `${program}.mjs` }));
  const thread = { entry: worker.resolve('./workflow/workflow-worker-thread'), file: WORKFLOW_THREAD };
  return Promise.all(
    [...programs.filter(({ entry }) => existsSync(entry)), thread].map(({ entry, file }) =>
      bundle(entry, join(folder, file)),
    ),
  );
}

async function bundle(entry: string, outfile: string): Promise<Bundle> {
  const { metafile, warnings } = await build({ ...OPTIONS, entryPoints: [entry], outfile });
  const said = warnings.map(({ text, location }) => `${location?.file ?? entry}: ${text}`);
  if (said.length > 0) throw new Error(`${outfile}: esbuild warns\n${said.join('\n')}`);
  const [output] = Object.values(metafile.outputs);
  if (output === undefined) throw new Error(`${outfile}: esbuild wrote nothing`);
  const packages = new Set(Object.keys(output.inputs).flatMap((input) => packageOf(input) ?? []));
  return { file: relative(ROOT, outfile), bytes: output.bytes, packages: [...packages].sort() };
}

/** `node_modules/a/node_modules/@b/c` of a file in there; undefined for our own files. */
function packageOf(input: string): string | undefined {
  return /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
}

/** The packages that the workflow bundle holds code of, as its source map names them. */
export function packagesIn(workflowBundle: string): string[] {
  const [, map = ''] = /^\/\/# sourceMappingURL=data:.*;base64,(.+)$/m.exec(workflowBundle) ?? [];
  const { sources } = JSON.parse(Buffer.from(map, 'base64').toString()) as { sources: string[] };
  return sources.filter((source) => source.startsWith('node_modules/')).flatMap((source) => packageOf(source) ?? []);
}

/** A file that a running process has mapped is replaced, not written over. */
async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  const half = `${to}.${process.pid}`;
  await copyFile(from, half);
  await rename(half, to);
}
