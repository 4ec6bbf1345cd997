import { delimiter, join, resolve } from 'node:path';
import { cachedOrBuilt, isExecutable, minorOf, ToolError, versionOf, type BuildOptions } from './go-build.ts';
import { isToolName, PINNED, TOOL_NAMES, type PinnedTool, type ToolName } from './pinned.ts';
import { progressOn, type Progress } from './progress.ts';

export { ToolError } from './go-build.ts';
export type { ToolName } from './pinned.ts';

export type ResolveOptions = Partial<BuildOptions>;

const resolved = new Map<ToolName, Promise<string>>();

/**
 * The absolute path of a program of the toolchain, looked for in this order:
 * its environment variable (as given, whatever its version) → KUBEBUILDER_ASSETS and PATH (of the pinned minor version,
 * else passed over with a line on stderr) → the cache → built from the pinned Go module.
 * Answers are kept for the life of the process. Throws ToolError saying what to install or set.
 */
export function resolveTool(name: ToolName): Promise<string> {
  let answer = resolved.get(name);
  if (answer === undefined) {
    answer = findTool(name);
    resolved.set(name, answer);
    answer.catch(() => resolved.delete(name));
  }
  return answer;
}

/** As {@link resolveTool}, without memory and with all its surroundings given. */
export async function findTool(name: ToolName, options: ResolveOptions = {}): Promise<string> {
  const env = options.env ?? process.env;
  const progress = options.progress ?? progressOn();
  const pinned = (options.pinned ?? PINNED)[name];

  const given = env[pinned.environment];
  if (given !== undefined && given !== '') {
    if (await isExecutable(given)) return resolve(given);
    throw new ToolError(`${pinned.environment}=${given} is not an executable file: correct or unset it`);
  }

  const assets = pinned.kubebuilderAsset ? env['KUBEBUILDER_ASSETS'] : undefined;
  const folders = new Set([assets ?? '', ...(env['PATH'] ?? '').split(delimiter)]);
  for (const folder of folders) {
    if (folder === '') continue;
    const file = resolve(join(folder, name));
    if (await isWanted(file, name, pinned, progress)) return file;
  }
  return cachedOrBuilt(name, { ...options, env, progress });
}

async function isWanted(file: string, name: ToolName, pinned: PinnedTool, progress: Progress): Promise<boolean> {
  if (!(await isExecutable(file))) return false;
  const version = await versionOf(file, pinned);
  const wanted = minorOf(pinned.version);
  if (version !== undefined && minorOf(version) === wanted) return true;
  progress.say(`${name}: passed over ${file}: it is ${version ?? 'of no known version'}, wanted ${wanted}`);
  return false;
}

async function main(names: string[]): Promise<void> {
  for (const name of names.length === 0 ? TOOL_NAMES : names) {
    if (!isToolName(name)) throw new ToolError(`${name}: no such tool; known are ${TOOL_NAMES.join(', ')}`);
    console.log(`${name}\t${await resolveTool(name)}`);
  }
}

if (import.meta.main) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
