import { builtinModules } from 'node:module';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundleWorkflows } from '../../worker/bundle.ts';
import { buildPrograms, PROGRAMS, type Bundle } from '../../tools/programs.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('the built programs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kairos-bundles-'));
  let bundles: Bundle[];
  beforeAll(async () => {
    bundles = await buildPrograms(folder);
  }, 180_000);
  afterAll(() => rmSync(folder, { recursive: true }));

  const text = (name: string) => readFileSync(join(folder, name), 'utf8');

  it('are all that have a main.ts, and what the SDK reads beside them', () => {
    const programs = PROGRAMS.filter((program) => readdirSync(ROOT).includes(program)).map((name) => `${name}.mjs`);
    expect(programs).toEqual(expect.arrayContaining(['watcher.mjs', 'worker.mjs']));
    expect(readdirSync(folder).sort()).toEqual(
      [...programs, 'mappings.wasm', 'releases', 'workflow-thread.mjs'].sort(),
    );
    expect(readdirSync(join(folder, 'releases')).sort()).toEqual([
      'aarch64-unknown-linux-gnu',
      'x86_64-unknown-linux-gnu',
    ]);
  });

  it('import nothing but what Node brings', () => {
    for (const name of readdirSync(folder).filter((name) => name.endsWith('.mjs'))) {
      const imported = [...text(name).matchAll(/^import .*? from "([^"]+)";$/gm)].map(([, module = '']) => module);
      const own = imported.filter((module) => !builtinModules.includes(module.replace(/^node:/, '')));
      expect({ name, own }).toEqual({ name, own: [] });
    }
  });

  it('hold neither the compiler of workflow code nor anything of a development machine', () => {
    const packages = new Set(bundles.flatMap((bundle) => bundle.packages));
    expect(packages).toContain('node_modules/@temporalio/worker');
    expect([...packages].filter((one) => /\/(webpack|@swc|memfs|unionfs|esbuild|typescript|jest)/.test(one))).toEqual(
      [],
    );
  });

  it('name no folder of the machine that built them', () => {
    for (const name of readdirSync(folder).filter((name) => name.endsWith('.mjs')))
      expect(text(name).includes(ROOT)).toBe(false);
  });
});

it('the workflow bundle is the same from build to build, and its map names files from the root', async () => {
  const [code, again] = [await bundleWorkflows(), await bundleWorkflows()];
  expect(again === code).toBe(true);
  expect(code.includes(ROOT)).toBe(false);
  const [, map = ''] = /^\/\/# sourceMappingURL=data:.*;base64,(.+)$/m.exec(code) ?? [];
  const decoded = Buffer.from(map, 'base64').toString();
  expect(decoded.includes(ROOT)).toBe(false);
  expect((JSON.parse(decoded) as { sources: string[] }).sources).toContain('workflows/rollout.ts');
}, 120_000);
