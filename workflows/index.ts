/** What the worker bundles: every export of a function here is a workflow. */
export { rollout } from './rollout.ts';
export { wave } from './wave.ts';
export { nodeUpgrade } from './node-upgrade.ts';
export { plan } from './plan.ts';
export { check } from './check.ts';
