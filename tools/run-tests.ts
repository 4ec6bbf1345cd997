import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { missingRequirements } from '../rig/requirements.ts';

/** `make test-node` shows all of them. */
const SHORT_MATRIX = { EVENTS: 'its own failure,all terminated' };

/** `make e2e` runs all of them. */
const SHORT_REAL = ['cluster', 'one-node', 'prometheus'].map((name) => `test/real/${name}.real.test.ts`);

/** What jest writes with `--json`. */
interface Outcome {
  numPassedTests: number;
  numFailedTests: number;
  numFailedTestSuites: number;
  numPendingTests: number;
  testResults: { status: string; assertionResults: unknown[] }[];
}

interface Count {
  passed: number;
  failed: number;
}

/**
 * Runs the tests of one project and counts them. Those on servers go three files at a time: each has servers of its own,
 * and the longest of them mostly wait. Those on real nodes go one after the other: a cluster is enough for a machine. A
 * suite that could not even be loaded counts as a failure.
 */
async function run(project: string, extra: string[] = [], env: Record<string, string> = {}): Promise<Count> {
  const file = path.join(tmpdir(), `kairos-tests-${process.pid}-${project}.json`);
  const jest = ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js'];
  const args = [...jest, '--selectProjects', project, '--json', '--outputFile', file, ...extra];
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  try {
    const outcome = JSON.parse(readFileSync(file, 'utf8')) as Outcome;
    const unloaded = outcome.testResults.filter(
      (suite) => suite.status === 'failed' && suite.assertionResults.length === 0,
    ).length;
    return { passed: outcome.numPassedTests, failed: outcome.numFailedTests + outcome.numPendingTests + unloaded };
  } catch {
    console.error(`the ${project} tests ended with ${code ?? signal} before they could report`);
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(file, { force: true });
  }
}

/**
 * The short form of the tests on real nodes. Where this machine cannot run them, that is said; in CI it is a failure.
 */
async function runOnRealNodes(): Promise<Count> {
  const missing = missingRequirements();
  if (missing.length === 0) return run('real', ['--runInBand', ...SHORT_REAL]);
  console.error(`NOT RUN: the tests on real nodes. ${missing.join('; ')}`);
  return { passed: 0, failed: process.env['CI'] === undefined ? 0 : 1 };
}

const counts = [await run('unit'), await run('server', ['--maxWorkers=3'])];
// Both mostly wait for machines that boot.
counts.push(...(await Promise.all([run('matrix', [], SHORT_MATRIX), runOnRealNodes()])));
const sum = (of: keyof Count) => counts.reduce((total, count) => total + count[of], 0);
const failed = sum('failed');
console.log(`${sum('passed')} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
