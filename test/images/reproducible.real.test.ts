import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { appendFile, chmod, cp, readFile, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from '@jest/globals';
import { ImageStore } from '../../tools/images/buildah.ts';
import { dockerfileOf, IMAGES, layContext, levelTree, type Image } from '../../tools/images/context.ts';
import { buildStandIn, type StandIn } from '../../tools/images/stand-ins.ts';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'kairos-reproducible-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Small, so that the test is quick: the base is not what is looked at. */
const BASE: StandIn = { name: 'localhost/base:test', lay: () => Promise.resolve(), settings: [] };

/** The digests of configuration and layers, from a store of its own. */
async function build(image: Image, context: string, number: number): Promise<{ config: string; layers: string[] }> {
  await using store = await ImageStore.open(folder);
  await buildStandIn(BASE, '', store);
  const name = 'localhost/built:test';
  await store.build({ name, dockerfile: dockerfileOf(image), context, buildArgs: { BASE: BASE.name } });
  const archive = join(folder, `${image}-${number}.tar`);
  await store.export(name, archive);
  const { stdout } = await run('tar', ['--extract', '--to-stdout', '--file', archive, 'manifest.json']);
  const [manifest] = JSON.parse(stdout) as { Config: string; Layers: string[] }[];
  return { config: manifest?.Config ?? '', layers: manifest?.Layers ?? [] };
}

it.each(IMAGES)(
  'the same files give the same image %s, and other files another',
  async (image) => {
    const first = await layContext(image);
    // Laid by somebody else at another time, with another umask.
    const second = join(folder, image);
    await cp(first, second, { recursive: true });
    const file = join(second, 'common', image === 'agent' ? 'agent.mjs' : 'worker.mjs');
    await chmod(file, 0o600);
    await utimes(file, 1_700_000_000, 1_700_000_000);
    await levelTree(second);
    const one = await build(image, first, 1);
    expect(one.layers.length).toBeGreaterThan(1);
    expect(await build(image, second, 2)).toEqual(one);
    const archives = await Promise.all([1, 2].map((number) => readFile(join(folder, `${image}-${number}.tar`))));
    expect(archives[0]?.equals(archives[1] ?? Buffer.of())).toBe(true);

    await appendFile(file, '\n');
    await levelTree(second);
    expect((await build(image, second, 3)).config).not.toBe(one.config);
  },
  120_000,
);
