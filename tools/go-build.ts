import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { access, constants, mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from './lock.ts';
import { PINNED, type PinnedTool, type ToolName } from './pinned.ts';
import type { Progress } from './progress.ts';

const run = promisify(execFile);

/** A program that can be neither found nor built. Not retried: the message says what to install or set. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

export interface BuildOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly progress: Progress;
  /** Folder with one pinned Go module per subfolder. */
  readonly modules?: string;
  readonly pinned?: Readonly<Record<ToolName, PinnedTool>>;
}

const MODULES = join(import.meta.dirname, 'toolchain');

function flags(pinned: PinnedTool): string[] {
  return ['-trimpath', '-buildvcs=false', `-ldflags=-s -w ${pinned.linkerFlags}`.trimEnd()];
}

/** Where the binary is kept. Another pin, another flag or another platform is another folder. */
export async function cachedPath(tool: ToolName, options: BuildOptions): Promise<string> {
  const { env } = options;
  const pinned = (options.pinned ?? PINNED)[tool];
  const folder = join(options.modules ?? MODULES, pinned.module);
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum']) hash.update(await readFile(join(folder, file)));
  hash.update(JSON.stringify([pinned.package, flags(pinned), process.platform, process.arch]));
  const xdg = env['XDG_CACHE_HOME'];
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(env['HOME'] ?? homedir(), '.cache');
  return join(base, 'kairos-operator', 'toolchain', hash.digest('hex').slice(0, 16), tool);
}

/**
 * The binary from the cache, built into it first where it is missing. A file in the cache is always whole: it is built
 * beside, run once, and renamed. Two callers at once build once. Throws ToolError.
 */
export async function cachedOrBuilt(tool: ToolName, options: BuildOptions): Promise<string> {
  const binary = await cachedPath(tool, options);
  if (await isExecutable(binary)) return binary;
  await mkdir(join(binary, '..'), { recursive: true });
  await withLock(`${binary}.lock`, () => build(tool, binary, options), {
    isDone: () => isExecutable(binary),
    onWait: (pid) => options.progress.say(`${tool}: waiting for process ${pid}, which is building it`),
  });
  return binary;
}

async function build(tool: ToolName, binary: string, options: BuildOptions): Promise<void> {
  const pinned = (options.pinned ?? PINNED)[tool];
  await needGo(tool, pinned, options);
  const folder = join(binary, '..');
  const prefix = `.${tool}.partial`;
  for (const left of await readdir(folder)) if (left.startsWith(prefix)) await rm(join(folder, left));
  const partial = join(folder, `${prefix}.${randomUUID()}`);
  await options.progress.during(`building ${tool} ${pinned.version}`, async () => {
    try {
      await run('go', ['build', ...flags(pinned), '-o', partial, pinned.package], {
        cwd: join(options.modules ?? MODULES, pinned.module),
        env: { ...options.env, CGO_ENABLED: '0', GOWORK: 'off' },
        maxBuffer: 64 * 1024 * 1024,
      });
    } catch (error) {
      throw new ToolError(`${tool}: go build failed${reasonOf(error)}\n${hint(tool, pinned)}`, { cause: error });
    }
    const version = await versionOf(partial, pinned);
    if (version !== pinned.version) {
      throw new ToolError(
        `${tool}: built from tools/toolchain/${pinned.module}, it answers version ${version ?? 'nothing'} instead of ${pinned.version}`,
      );
    }
    await flush(partial);
    await rename(partial, binary);
  });
}

async function needGo(tool: ToolName, pinned: PinnedTool, options: BuildOptions): Promise<void> {
  try {
    await run('go', ['version'], { env: options.env });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new ToolError(
      `${tool} ${pinned.version} is neither installed nor cached, and there is no Go to build it with.\n${hint(tool, pinned)}`,
    );
  }
}

function hint(tool: ToolName, pinned: PinnedTool): string {
  const assets = pinned.kubebuilderAsset ? ', or KUBEBUILDER_ASSETS to the folder that setup-envtest made' : '';
  return `Install Go 1.26 or newer (https://go.dev/dl), or set ${pinned.environment} to a ${tool} ${minorOf(pinned.version)} binary${assets}.`;
}

function reasonOf(error: unknown): string {
  const stderr = (error as { stderr?: unknown }).stderr;
  const text = typeof stderr === 'string' ? stderr.trim().split('\n').slice(-8).join('\n') : '';
  return text === '' ? '.' : `:\n${text}`;
}

/** The version that a binary says it is, as major.minor.patch; undefined when it does not run or says none. */
export async function versionOf(binary: string, pinned: PinnedTool): Promise<string | undefined> {
  try {
    const { stdout } = await run(binary, [...pinned.versionCommand], { timeout: 15_000 });
    return /\d+\.\d+\.\d+/.exec(stdout)?.[0];
  } catch {
    return undefined;
  }
}

export function minorOf(version: string): string {
  return version.split('.').slice(0, 2).join('.');
}

export async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** A rename may reach the disk before the content does; after a power loss the cache would hold an empty file. */
async function flush(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
