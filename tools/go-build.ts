import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { access, constants, mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './cache.ts';
import { CompilerError, Interrupted, runCompiler, takeEffect } from './compiler.ts';
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
  return join(cacheFolder(env), 'toolchain', hash.digest('hex').slice(0, 16), tool);
}

/**
 * The binary from the cache, built into it first where it is missing. A file in the cache is always whole: it is built
 * beside, run once, and renamed. Two callers at once build once. Whatever ends a build takes its compilers and its half
 * files along; after SIGKILL the next build removes the files. Throws ToolError.
 */
export async function cachedOrBuilt(tool: ToolName, options: BuildOptions): Promise<string> {
  const binary = await cachedPath(tool, options);
  if (await isExecutable(binary)) return binary;
  const folder = dirname(binary);
  try {
    await mkdir(folder, { recursive: true });
    await withLock(`${binary}.lock`, () => build(tool, binary, options), {
      isDone: () => isExecutable(binary),
      onWait: (pid) => options.progress.say(`${tool}: waiting for process ${pid}, which is building it`),
    });
  } catch (error) {
    if (error instanceof Interrupted) {
      takeEffect(error);
      throw new ToolError(`${tool}: the build was ${error.message}; nothing is left of it`, { cause: error });
    }
    // One who took our lock for abandoned may have removed our half file, and finished.
    if (await isExecutable(binary)) return binary;
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof ToolError || code === undefined) throw error;
    throw new ToolError(`${tool}: the cache folder ${folder} cannot be used (${message}).\n${cacheHint(code)}`, {
      cause: error,
    });
  }
  return binary;
}

async function build(tool: ToolName, binary: string, options: BuildOptions): Promise<void> {
  const pinned = (options.pinned ?? PINNED)[tool];
  await needGo(tool, pinned, options);
  const folder = dirname(binary);
  const prefix = `.${tool}.partial`;
  const discard = (name: string) => rm(join(folder, name), { recursive: true, force: true });
  for (const left of await readdir(folder)) if (left.startsWith(prefix)) await discard(left);
  const own = `${prefix}.${randomUUID()}`;
  const partial = join(folder, own, tool);
  // The compiler's own scratch files, so that they go with ours.
  const scratch = join(folder, own, 'tmp');
  await mkdir(scratch, { recursive: true });
  try {
    await options.progress.during(`building ${tool} ${pinned.version}`, async () => {
      await runCompiler(['build', ...flags(pinned), '-o', partial, pinned.package], {
        cwd: join(options.modules ?? MODULES, pinned.module),
        env: { ...options.env, CGO_ENABLED: '0', GOWORK: 'off', GOTMPDIR: scratch },
      }).catch((error: unknown) => {
        if (error instanceof Interrupted) throw error;
        const words = error instanceof CompilerError ? error.words : (error as Error).message;
        throw new ToolError(`${tool}: go build failed${inLines(words)}\n${hint(tool, pinned, words)}`, {
          cause: error,
        });
      });
      const version = await versionOf(partial, pinned);
      if (version !== pinned.version) {
        throw new ToolError(
          `${tool}: built from tools/toolchain/${pinned.module}, it answers version ${version ?? 'nothing'} instead of ${pinned.version}; remove it from the Go build cache with "go clean -cache" and try again`,
        );
      }
      await flush(partial);
      await rename(partial, binary);
    });
  } finally {
    await discard(own);
  }
}

async function needGo(tool: ToolName, pinned: PinnedTool, options: BuildOptions): Promise<void> {
  try {
    await run('go', ['version'], { env: options.env });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no Go to build it with' : `go does not run (${message.trim()})`;
    throw new ToolError(
      `${tool} ${pinned.version} is neither installed nor cached, and ${why}.\n${installHint(tool, pinned)}`,
    );
  }
}

const TOO_OLD =
  /requires go >=|go: download go1|toolchain not available|invalid go version|unknown directive: (tool|toolchain)/;
const NO_NETWORK =
  /dial tcp|no such host|connection refused|network is unreachable|i\/o timeout|TLS handshake|proxyconnect|module lookup disabled|Bad Gateway|Service Unavailable|40[34] |unexpected EOF/;
const NO_SPACE = /no space left|disk quota exceeded/;
const NO_MEMORY = /signal: (killed|SIGKILL)|cannot allocate memory|out of memory/;

/** What to do, by what the compiler said. */
function hint(tool: ToolName, pinned: PinnedTool, words: string): string {
  const install = installHint(tool, pinned);
  // In this order: a full disk also breaks downloads, and too old a Go first tries to download a newer one.
  if (NO_SPACE.test(words)) return cacheHint('ENOSPC');
  if (TOO_OLD.test(words)) return `The Go on PATH is too old. ${install}`;
  if (NO_NETWORK.test(words))
    return `The Go modules could not be downloaded: check the network, or set GOPROXY to a proxy that can be reached. Without a network, set ${pinned.environment} to a binary of ${tool} ${minorOf(pinned.version)}.`;
  if (NO_MEMORY.test(words))
    return 'The machine ran out of memory: close other programs, or set GOFLAGS=-p=1, which takes longer and needs less.';
  return install;
}

function installHint(tool: ToolName, pinned: PinnedTool): string {
  const assets = pinned.kubebuilderAsset ? ', or KUBEBUILDER_ASSETS to the folder that setup-envtest made' : '';
  return `Install Go 1.26 or newer (https://go.dev/dl), or set ${pinned.environment} to a binary of ${tool} ${minorOf(pinned.version)}${assets}.`;
}

function cacheHint(code: string): string {
  const elsewhere = 'set XDG_CACHE_HOME to a folder (an absolute path)';
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? `The disk is full: Go's own caches (go env GOCACHE GOMODCACHE) take about 9 GB for the whole toolchain. Free some, or ${elsewhere} with more.`
    : `Make it writable, or ${elsewhere} that is.`;
}

function inLines(words: string): string {
  const text = words.trim().split('\n').slice(-8).join('\n');
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
