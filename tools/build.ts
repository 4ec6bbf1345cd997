import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buildAgent } from '../agent/build.ts';
import { WORKFLOW_BUNDLE } from '../worker/bundle-path.ts';
import { bundleWorkflows } from '../worker/bundle.ts';
import { buildPrograms } from './programs.ts';

/** Builds what runs outside of the sources: the workflow bundle, the operator's programs and the agent. */
await mkdir(path.dirname(WORKFLOW_BUNDLE), { recursive: true });
const code = await bundleWorkflows();
const half = `${WORKFLOW_BUNDLE}.${process.pid}`;
await writeFile(half, code);
await rename(half, WORKFLOW_BUNDLE);
console.log(`build/workflow-bundle.js ${Math.round(code.length / 1024)} kB`);
const agent = await buildAgent();
console.log(`build/agent.mjs ${Math.round(agent.bytes / 1024)} kB`);
for (const { file, bytes } of await buildPrograms()) console.log(`${file} ${Math.round(bytes / 1024)} kB`);
