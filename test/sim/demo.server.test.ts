import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

const DEMO = path.resolve(import.meta.dirname, '../../sim/demo/main.ts');

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-demo-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the demo as `make demo` does, once tools and bundles are there. */
async function demo(env: Record<string, string>): Promise<{ code: number | null; output: string }> {
  const run = spawn(process.execPath, ['--no-warnings', DEMO, folder], {
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((resolve) => run.once('exit', resolve));
  const [output, errors, code] = await Promise.all([text(run.stdout), text(run.stderr), ended]);
  return { code, output: `${output}${errors}` };
}

describe('the demo', () => {
  it('upgrades a small cluster with workloads, and holds every promise', async () => {
    const { code, output } = await demo({ NODES: '2' });
    expect(output).toContain('Completed: 2 of 2 nodes run v4.0.3-k3sv1.33.9+k3s1');
    expect(output.match(/^(held|BROKEN) .*/gm)).toHaveLength(6);
    expect(output).not.toContain('BROKEN');
    expect(output).toMatch(/^API requests a node {5}\d/m);
    expect(code).toBe(0);
  }, 180_000);

  it('says what to write instead of a wrong value, and starts nothing', async () => {
    const { code, output } = await demo({ NODES: 'many' });
    expect(code).toBe(1);
    expect(output.trim()).toBe('NODES=many: write a whole number from 1 to 1000, such as NODES=12');
  }, 20_000);
});
