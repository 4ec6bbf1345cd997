/** Builds the agent's bundle: `node agent/build.ts [outfile]`. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

export interface AgentBundle {
  readonly outfile: string;
  readonly bytes: number;
  /** What the bundle imports when it runs. */
  readonly imports: readonly string[];
}

const root = fileURLToPath(new URL('..', import.meta.url));

/** Writes the whole agent as one minified file for Node 24. */
export async function buildAgent(outfile = `${root}build/agent.mjs`): Promise<AgentBundle> {
  const { version } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as { version: string };
  const { metafile } = await build({
    entryPoints: [`${root}agent/main.ts`],
    outfile,
    absWorkingDir: root,
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    legalComments: 'none',
    define: { 'process.env.AGENT_VERSION': JSON.stringify(version) },
    metafile: true,
    logLevel: 'warning',
  });
  const [output] = Object.values(metafile.outputs);
  if (output === undefined) throw new Error('esbuild wrote no agent bundle');
  return { outfile, bytes: output.bytes, imports: output.imports.map(({ path }) => path) };
}

if (import.meta.main) {
  const { outfile, bytes, imports } = await buildAgent(process.argv[2]);
  process.stdout.write(`${outfile}: ${(bytes / 1024).toFixed(1)} KiB; imports ${imports.join(', ')}\n`);
}
