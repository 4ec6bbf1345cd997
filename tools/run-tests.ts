import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** What jest writes with `--json`. */
interface Outcome {
  numPassedTests: number;
  numFailedTests: number;
  numFailedTestSuites: number;
  numPendingTests: number;
  testResults: { status: string; assertionResults: unknown[] }[];
}

/**
 * Runs the unit tests in parallel and the server tests one file after the other (each starts its own servers), and
 * closes with one line that counts both. A suite that could not even be loaded counts as a failure.
 */
function run(project: string, extra: string[]): { passed: number; failed: number } {
  const file = path.join(tmpdir(), `kairos-tests-${process.pid}-${project}.json`);
  const jest = ['--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js'];
  const args = [...jest, '--selectProjects', project, '--json', '--outputFile', file, ...extra];
  const child = spawnSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    const outcome = JSON.parse(readFileSync(file, 'utf8')) as Outcome;
    const unloaded = outcome.testResults.filter(
      (suite) => suite.status === 'failed' && suite.assertionResults.length === 0,
    ).length;
    return { passed: outcome.numPassedTests, failed: outcome.numFailedTests + outcome.numPendingTests + unloaded };
  } catch {
    console.error(`the ${project} tests ended with ${child.status ?? child.signal} before they could report`);
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(file, { force: true });
  }
}

const unit = run('unit', []);
const server = run('server', ['--runInBand']);
const failed = unit.failed + server.failed;
console.log(`${unit.passed + server.passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
