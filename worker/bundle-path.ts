import { fileURLToPath } from 'node:url';

/** The built program has its workflow code beside it; the sources have it in the folder of builds. */
const FOLDER = import.meta.url.endsWith('.ts') ? '../build/' : './';

/** Where the built workflow code is; the worker runs it without a compiler. */
export const WORKFLOW_BUNDLE = fileURLToPath(new URL(`${FOLDER}workflow-bundle.js`, import.meta.url));
