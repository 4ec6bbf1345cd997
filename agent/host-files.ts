import { constants } from 'node:fs';
import { open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** More than any of the files that we read ever holds; the rest of a longer one is not read. */
export const MAX_FILE_BYTES = 64 * 1024;
/** As the kernel's own limit. */
const MAX_SYMLINKS = 40;
const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'ENODEV']);

/**
 * Reads the first 64 KiB of a regular file of the machine. Symlinks, relative and absolute, are followed as the
 * machine itself would follow them, and never lead outside `hostRoot`: `/etc/os-release` usually is a link into
 * /usr/lib, and through the container's own /usr/lib it would describe the wrong system.
 *
 * `undefined` when there is no such regular file. Throws the system's error when it cannot be read (EACCES, EIO):
 * that is not the same as a machine without it.
 */
export async function readHostFile(hostRoot: string, path: string): Promise<Buffer | undefined> {
  const resolved = await resolveInside(hostRoot, path);
  if (resolved === undefined) return undefined;
  // a FIFO would block the open for ever, and what was no link a moment ago must not be one now
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const file = await orMissing(open(resolved, flags));
  if (file === undefined) return undefined;
  try {
    if (!(await file.stat()).isFile()) return undefined;
    // files of /proc say that they are empty, so the size is no guide
    const buffer = Buffer.alloc(MAX_FILE_BYTES);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } finally {
    await file.close();
  }
}

/** Like {@link readHostFile}, as text; bytes that are no UTF-8 become U+FFFD. */
export async function readHostText(hostRoot: string, path: string): Promise<string | undefined> {
  return (await readHostFile(hostRoot, path))?.toString('utf8');
}

/** The names in a directory of the machine; `undefined` when there is no such directory. */
export async function listHostDirectory(hostRoot: string, path: string): Promise<string[] | undefined> {
  const resolved = await resolveInside(hostRoot, path);
  return resolved === undefined ? undefined : orMissing(readdir(resolved));
}

/** Walks the path as a process whose root is `hostRoot` would: `/` and `..` end at that root. */
async function resolveInside(hostRoot: string, path: string): Promise<string | undefined> {
  const ahead = path.split('/');
  let walked: string[] = [];
  let links = 0;
  for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      walked.pop();
      continue;
    }
    const target = await linkTarget(join(hostRoot, ...walked, part));
    if (target === undefined) return undefined;
    if (target === 'no link') {
      walked.push(part);
      continue;
    }
    links += 1;
    if (links > MAX_SYMLINKS) return undefined;
    if (target.to.startsWith('/')) walked = [];
    ahead.unshift(...target.to.split('/'));
  }
  return join(hostRoot, ...walked);
}

async function linkTarget(path: string): Promise<{ to: string } | 'no link' | undefined> {
  try {
    return { to: await readlink(path) };
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EINVAL') return 'no link';
    if (NOT_THERE.has(code)) return undefined;
    throw error;
  }
}

async function orMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (NOT_THERE.has(codeOf(error))) return undefined;
    throw error;
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}
