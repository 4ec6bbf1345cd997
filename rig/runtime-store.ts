import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { unwatch, watch } from '../sim/watchdog.ts';
import { cacheFolder } from '../tools/cache.ts';

const run = promisify(execFile);
const UP_WITHIN_MS = 30_000;
/** Each is about a gigabyte. */
const KEPT = 2;
/** What containerd writes in place. All else in its folder is only ever added or removed. */
const DATABASES = ['io.containerd.metadata.v1.bolt/meta.db', 'io.containerd.snapshotter.v1.overlayfs/metadata.db'];

/**
 * A folder as containerd keeps it in /var/lib, with the images of these archives imported, from the cache or made by a
 * containerd of its own. Importing them into each machine's would cost a minute for each machine.
 */
export async function prepareRuntimeStore(
  archives: readonly string[],
  config: string,
  log: (line: string) => void,
): Promise<string> {
  const cache = path.join(cacheFolder(), 'rig');
  // The names of archives in the caches hold hashes of their content.
  const key = createHash('sha256').update(JSON.stringify([config, archives.map((file) => path.basename(file))]));
  const store = path.join(cache, `store-${key.digest('hex').slice(0, 16)}`);
  if (!existsSync(store)) {
    log(`importing ${archives.length} images ...`);
    await rm(`${store}.half`, { recursive: true, force: true });
    await importAll(archives, config, `${store}.half`);
    await rename(`${store}.half`, store);
  }
  await utimes(store, new Date(), new Date());
  await forgetOthers(cache);
  return store;
}

/** A copy of a store for one machine: links, but for what is written in place. `to` must not be there. */
export async function copyRuntimeStore(store: string, to: string): Promise<void> {
  await run('cp', ['-al', store, to]);
  for (const database of DATABASES) {
    await rm(path.join(to, database));
    await cp(path.join(store, database), path.join(to, database));
  }
}

async function importAll(archives: readonly string[], config: string, root: string): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'kairos-containerd-'));
  const address = path.join(folder, 'containerd.sock');
  const configFile = path.join(folder, 'config.toml');
  await writeFile(configFile, config);
  await mkdir(root, { recursive: true });
  const places = ['--config', configFile, '--root', root, '--state', path.join(folder, 'state'), '--address', address];
  // A mount namespace of its own: what it mounts to unpack is gone with it, however it ends.
  const child = spawn('unshare', ['-m', 'containerd', ...places], { detached: true, stdio: 'ignore' });
  const { pid } = child;
  if (pid === undefined) throw new Error('containerd cannot be started');
  watch(pid);
  const ctr = (...args: string[]) => run('ctr', ['--address', address, '--namespace', 'k8s.io', ...args]);
  const isUp = () =>
    ctr('version').then(
      () => true,
      () => false,
    );
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    const giveUpAtMs = Date.now() + UP_WITHIN_MS;
    while (!(await isUp())) {
      if (Date.now() > giveUpAtMs) throw new Error(`containerd does not answer: containerd ${places.join(' ')}`);
      await sleep(100);
    }
    for (const archive of archives) await ctr('images', 'import', archive);
  } finally {
    child.kill('SIGTERM');
    await ended;
    unwatch(pid);
    await rm(folder, { recursive: true, force: true });
  }
}

async function forgetOthers(cache: string): Promise<void> {
  const names = (await readdir(cache)).filter((name) => /^store-[0-9a-f]+$/.test(name));
  const aged = await Promise.all(
    names.map(async (name) => ({ name, usedAtMs: (await stat(path.join(cache, name))).mtimeMs })),
  );
  const old = aged.toSorted((a, b) => b.usedAtMs - a.usedAtMs).slice(KEPT);
  for (const { name } of old) await rm(path.join(cache, name), { recursive: true, force: true });
}
