import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const TOUCH_INTERVAL_MS = 2000;
/** A holder that did not touch its lock for so long is gone, even where its process id has been given to another. */
const STALE_AFTER_MS = 30_000;
const POLL_INTERVAL_MS = 200;

export interface LockOptions {
  /** Told once when somebody else holds the lock. */
  readonly onWait?: (pid: number) => void;
  /** Asked before each try and once more under the lock; true means that there is nothing left to do. */
  readonly isDone?: () => Promise<boolean>;
}

/**
 * Runs `work` while holding the lock file, or returns undefined as soon as `isDone` says that somebody else did it.
 * The lock of a process that died is taken over. It saves double work and is not needed for correctness: in a rare
 * race two may run at once, and both put their whole result in place by one rename.
 */
export async function withLock<T>(
  file: string,
  work: () => Promise<T>,
  options: LockOptions = {},
): Promise<T | undefined> {
  let told = false;
  for (;;) {
    if ((await options.isDone?.()) === true) return undefined;
    if (await take(file)) break;
    const holder = await holderOf(file);
    if (holder === undefined) continue;
    if (holder.stale) {
      await breakLock(file, holder.pid);
      continue;
    }
    if (!told) options.onWait?.(holder.pid);
    told = true;
    await sleep(POLL_INTERVAL_MS);
  }
  const touch = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => undefined);
  }, TOUCH_INTERVAL_MS);
  try {
    // The last holder may have finished between the question and the lock.
    return (await options.isDone?.()) === true ? undefined : await work();
  } finally {
    clearInterval(touch);
    await rm(file, { force: true });
  }
}

/** A lock appears with its content: written elsewhere and linked, since others read it as soon as it exists. */
async function take(file: string): Promise<boolean> {
  const own = `${file}.${randomUUID()}`;
  try {
    await writeFile(own, `${process.pid}\n`);
    await link(own, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(own, { force: true });
  }
}

/** Undefined when the lock has just gone. */
async function holderOf(file: string): Promise<{ pid: number; stale: boolean } | undefined> {
  try {
    const pid = Number.parseInt(await readFile(file, 'utf8'), 10);
    const { mtimeMs } = await stat(file);
    return { pid, stale: !isAlive(pid) || Date.now() - mtimeMs > STALE_AFTER_MS };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Only one of several that saw the dead holder can rename its lock; one who caught a new holder's puts it back. */
async function breakLock(file: string, pid: number): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
    if (Number.parseInt(await readFile(aside, 'utf8'), 10) !== pid) await link(aside, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
