import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buildAgent } from '../agent/build.ts';
import { WORKFLOW_BUNDLE } from '../worker/bundle-path.ts';
import { bundleWorkflows } from '../worker/bundle.ts';
import { PACKAGES_FILE } from './images/sbom.ts';
import { licensesOf } from './licenses.ts';
import { buildPrograms, packagesIn } from './programs.ts';

/** Builds what runs outside of the sources: the workflow bundle, the operator's programs and the agent. */
await mkdir(path.dirname(WORKFLOW_BUNDLE), { recursive: true });
const code = await bundleWorkflows();
await place(WORKFLOW_BUNDLE, code);
console.log(`build/workflow-bundle.js ${Math.round(code.length / 1024)} kB`);
const agent = await buildAgent();
console.log(`build/agent.mjs ${Math.round(agent.bytes / 1024)} kB`);
const programs = await buildPrograms();
for (const { file, bytes } of programs) console.log(`${file} ${Math.round(bytes / 1024)} kB`);
const packages = [...new Set([...programs.flatMap((program) => program.packages), ...packagesIn(code)])].sort();
await place(PACKAGES_FILE, `${JSON.stringify(packages, null, 2)}\n`);
await place(path.join(path.dirname(WORKFLOW_BUNDLE), 'licenses.txt'), await licensesOf(packages));

/** Whole or not at all: tests of another process may be reading it. */
async function place(file: string, text: string): Promise<void> {
  const half = `${file}.${process.pid}`;
  await writeFile(half, text);
  await rename(half, file);
}
