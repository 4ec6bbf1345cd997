import { randomInt } from 'node:crypto';
import { SCENARIOS } from './scenarios/index.ts';
import type { Scenario } from './scenarios/scenario.ts';

/** What a person may ask of the demo, by environment variables. */
export interface DemoOptions {
  readonly controlPlane: number;
  readonly workers: number;
  /** Leave everything up at the end, until Ctrl-C. */
  readonly keep: boolean;
  readonly story: Story;
}

export type Story =
  | { readonly kind: 'upgrade' }
  /** Every part is killed again and again meanwhile. */
  | { readonly kind: 'chaos'; readonly seed: number }
  /** The new image does not boot; `mend`: then one under another tag does. */
  | { readonly kind: 'bad-image'; readonly mend: boolean }
  /** A story of its own, on a cluster of its own. */
  | { readonly kind: 'scenario'; readonly scenario: Scenario };

type Environment = Record<string, string | undefined>;

const MOST = 1000;
const LARGEST_SEED = 2 ** 32 - 1;

/**
 * Reads NODES (all of them, default 12; three are control plane, one below four nodes), KEEP=1, CHAOS=1 with SEED (any
 * without it), BAD_IMAGE=1 and BAD_IMAGE=mend, and SCENARIO with the name of one, which has nodes of its own.
 * @throws Error that says what to write
 */
export function readDemoOptions(env: Environment): DemoOptions {
  const scenario = readScenario(env);
  if (scenario !== undefined) {
    const { controlPlane, workers } = scenario;
    return { controlPlane, workers, keep: readKeep(env), story: { kind: 'scenario', scenario } };
  }
  const nodes = wholeNumber(env, 'NODES', 1, MOST, '12') ?? 12;
  const controlPlane = nodes < 4 ? 1 : 3;
  return { controlPlane, workers: nodes - controlPlane, keep: readKeep(env), story: readStory(env) };
}

const readKeep = (env: Environment) =>
  choice(env, 'KEEP', { '1': true }, 'write KEEP=1 to leave everything up at the end') ?? false;

function readScenario(env: Environment): Scenario | undefined {
  const name = env['SCENARIO'] ?? '';
  if (name === '') return undefined;
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined)
    throw new Error(`SCENARIO=${name}: write one of ${SCENARIOS.map((one) => one.name).join(', ')}`);
  const other = ['NODES', 'CHAOS', 'BAD_IMAGE', 'SEED'].find((key) => !['', '0'].includes(env[key] ?? ''));
  if (other !== undefined)
    throw new Error(`${other}=${env[other]}: a scenario has nodes and troubles of its own: leave ${other} out`);
  return scenario;
}

function readStory(env: Environment): Story {
  const chaos =
    choice(env, 'CHAOS', { '1': true }, 'write CHAOS=1 to have every part killed during the upgrade') ?? false;
  const kinds = { '1': { mend: false }, mend: { mend: true } };
  const help = 'write BAD_IMAGE=1 for an image that does not boot, or BAD_IMAGE=mend to have it mended afterwards';
  const badImage = choice(env, 'BAD_IMAGE', kinds, help);
  if (chaos && badImage !== undefined) throw new Error('CHAOS and BAD_IMAGE are two demos: write one of them');
  const seed = wholeNumber(env, 'SEED', 0, LARGEST_SEED, '7');
  if (seed !== undefined && !chaos)
    throw new Error(`SEED=${seed} chooses what CHAOS kills: write CHAOS=1 SEED=${seed}`);
  if (chaos) return { kind: 'chaos', seed: seed ?? randomInt(1, 100_000) };
  return badImage === undefined ? { kind: 'upgrade' } : { kind: 'bad-image', ...badImage };
}

/** A whole number from the environment; undefined where there is none. Throws an Error that says what to write. */
export function wholeNumber(
  env: Environment,
  name: string,
  least: number,
  most: number,
  example: string,
): number | undefined {
  const text = env[name] ?? '';
  if (text === '') return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw new Error(`${name}=${text}: write a whole number from ${least} to ${most}, such as ${name}=${example}`);
}

function choice<T>(env: Environment, name: string, values: Readonly<Record<string, T>>, help: string): T | undefined {
  const text = env[name] ?? '';
  if (text === '' || text === '0') return undefined;
  const value = Object.hasOwn(values, text) ? values[text] : undefined;
  if (value === undefined) throw new Error(`${name}=${text}: ${help}, or leave it out`);
  return value;
}
