import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { bundleWorkflows } from '../../worker/bundle.ts';
import { ROOT, filesOf, withoutComments } from './imports.ts';

/** What would make each replay slower, or differ from one version of a library to the next. */
const INTRUDERS = /\b(zod|croner|pino|yaml|@kubernetes|client-node|@temporalio\/(client|worker|activity))\b/g;
const TIME_TEXT = /(['"`])\d+(\.\d+)?\s*(ms|s|m|h|d|w|sec|min|hr|(millisecond|second|minute|hour|day|week)s?)\1/gi;
const TIME_FIELD = /\b\w*(timeout|interval|delay|ms)\b\s*[:=]\s*(['"`]?\d[\w.]*)/gi;
const TIME_CALL = /\bsleep\(\s*['"`\d]/g;

const modulesIn = (code: string) =>
  [...code.matchAll(/^\/\*\*\*\/ "\.\/([^"\n]+)"/gm)]
    .map(([, module = '']) => module)
    .filter((module) => module !== '');

/** Numbers from 1000 on are lengths of time in milliseconds; limits of lists and texts are smaller here. */
function timesIn(text: string): string[] {
  const code = withoutComments(text);
  const texts = [TIME_TEXT, TIME_FIELD, TIME_CALL].flatMap((pattern) =>
    [...code.matchAll(pattern)].map(([all]) => all),
  );
  const numbers = [...code.matchAll(/(?<![\w$.])\d[\d_]*(?:\.\d+)?(?:e\d+)?/gi)].map(([all]) => all);
  return [...texts, ...numbers.filter((number) => Number(number.replaceAll('_', '')) >= 1000)];
}

describe('the code that Temporal replays', () => {
  let code: string;
  beforeAll(async () => {
    code = await bundleWorkflows();
  }, 60_000);

  it('holds the workflows', () => {
    const modules = modulesIn(code);
    for (const file of filesOf('workflows')) expect(modules).toContainEqual(expect.stringContaining(file));
  });

  it('holds neither zod nor croner nor anything of Kubernetes', () => {
    expect([...code.matchAll(INTRUDERS)].map(([word]) => word)).toEqual([]);
  });

  it('holds no file of a room but workflows, policy and the types, messages and names of api', () => {
    const ours = modulesIn(code).filter((module) => !module.includes('node_modules/') && module.endsWith('.ts'));
    const foreign = ours.filter(
      (module) =>
        !/(^|\/)(workflows\/|policy\/|api\/(types|(control-|plan-)?messages|rollout-spec|names)\.ts)/.test(module),
    );
    expect(foreign).toEqual([]);
  });
});

describe('no length of time stands in', () => {
  it.each(filesOf('workflows'))('%s', (file) => {
    expect(timesIn(readFileSync(join(ROOT, file), 'utf8'))).toEqual([]);
  });
});

it.each([
  `sleep('10s')`,
  `await condition(done, '5 minutes')`,
  'const wait = `2h`;',
  'await sleep(500);',
  'condition(done, 30_000)',
  'x({ startToCloseTimeout: 10 })',
  `x({ heartbeatTimeout: '3 seconds' })`,
  'const pauseMs = 1e4;',
])('a length of time is found in: %s', (text) => {
  expect(timesIn(text)).not.toEqual([]);
});

it.each(['// waits 5000 ms', `'10 nodes'`, 'text.slice(0, 200)', 'timing.callMs', 'node.w1000'])(
  'no length of time is found in: %s',
  (text) => {
    expect(timesIn(text)).toEqual([]);
  },
);
