import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { runDemoApart } from '../../sim/demo/run-apart.ts';
import { SCENARIOS } from '../../sim/demo/scenarios/index.ts';

/** All of them are played by `make test-scenarios`: these two are what a change is most likely to break. */
const PLAYED = ['canary-failure', 'single-node'];

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-scenario-'));
});

afterEach(() => {
  for (const left of [folder, `${folder}.log`]) rmSync(left, { recursive: true, force: true });
});

it.each(PLAYED)(
  'the scenario %s keeps every promise',
  async (name) => {
    const { exitCode, remarks, words } = await runDemoApart({ SCENARIO: name }, folder, AbortSignal.timeout(230_000));
    expect({ exitCode, remarks, broken: words['broken'] }).toEqual({ exitCode: 0, remarks: '', broken: '0' });
  },
  240_000,
);

it('make -s scenarios prints the names, one a line', async () => {
  const { stdout } = await promisify(execFile)('make', ['-s', 'scenarios'], {
    cwd: path.join(import.meta.dirname, '../..'),
  });
  expect(stdout.trimEnd().split('\n')).toEqual(SCENARIOS.map(({ name }) => name));
});
