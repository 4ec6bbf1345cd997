import { readFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { Plugin } from 'esbuild';

/** The code that the SDK's worker starts its threads with, beside the program. */
export const WORKFLOW_THREAD = 'workflow-thread.mjs';

/** Replaces the only place of `text` in a file of the SDK. */
interface Change {
  readonly text: string;
  readonly by: string;
}

const threads: Change = {
  text: `require.resolve('./workflow-worker-thread')`,
  by: `require('node:path').join(__dirname, '${WORKFLOW_THREAD}')`,
};

/** A module of the SDK that only a development machine uses, with what others take from it. */
const leftOut = (name: string, rest = '') =>
  `exports.${name} = () => { throw new Error('${name} is not part of the built program'); };${rest}`;

const WORKER = join('node_modules', '@temporalio', 'worker', 'lib');

/** By file of @temporalio/worker: what changes in it, or what stands in its place. */
const CHANGES: Readonly<Record<string, Change | string>> = {
  'workflow/threaded-vm.js': threads,
  // The compiler of workflow code, with webpack and swc behind it: we ship that code compiled.
  'workflow/bundler.js': leftOut(
    'bundleWorkflowCode',
    'exports.defaultWorkflowInterceptorModules = []; exports.WorkflowCodeBundler = class { constructor() { exports.bundleWorkflowCode(); } };',
  ),
  'debug-replayer/index.js': leftOut('startDebugReplayer'),
};

/**
 * Lets the worker of the Temporal SDK run from one file: its threads start from a second one, what only compiles
 * workflow code stays out. The build fails where the SDK no longer has what is changed.
 */
export const runFromOneFile: Plugin = {
  name: 'run-from-one-file',
  setup(build) {
    build.onLoad({ filter: /@temporalio[\\/]worker[\\/]lib[\\/].*\.js$/ }, async ({ path }) => {
      const [, file = ''] = path.split(WORKER + sep);
      const change = CHANGES[file.split(sep).join('/')];
      if (change === undefined) return undefined;
      if (typeof change === 'string') return { contents: change };
      const parts = (await readFile(path, 'utf8')).split(change.text);
      if (parts.length !== 2)
        return { errors: [{ text: `${file} of @temporalio/worker holds ${parts.length - 1} times ${change.text}` }] };
      return { contents: parts.join(change.by) };
    });
    build.onEnd(async ({ metafile }) => {
      // Each file that is to be left out or changed must still be there under its name.
      const inputs = Object.keys(metafile?.inputs ?? {});
      if (!inputs.some((input) => input.includes(`${WORKER}${sep}worker.js`))) return undefined;
      const missing = Object.keys(CHANGES).filter(
        (file) => !inputs.some((input) => input.endsWith(join(WORKER, file))),
      );
      return { errors: missing.map((file) => ({ text: `@temporalio/worker no longer has ${file}` })) };
    });
  },
};
