import { fileURLToPath } from 'node:url';

/** Where the built workflow code is; the worker runs it without a compiler. */
export const WORKFLOW_BUNDLE = fileURLToPath(new URL('../build/workflow-bundle.js', import.meta.url));
