import { constants } from 'node:fs';
import { lstat, open, opendir, readlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

/** More than any of the files that we read ever holds; the rest of a longer one is not read. */
export const MAX_FILE_BYTES = 64 * 1024;
/** More than any of the directories that we list ever holds. */
export const MAX_LISTED = 256;
const CHUNK_BYTES = 4 * 1024;
/** As the kernel's own limit. */
const MAX_SYMLINKS = 40;
const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'ENODEV', 'ENAMETOOLONG']);

export interface HostFile {
  readonly bytes: Buffer;
  /** Why the bytes are not all that is there, as the end of a sentence about the file. */
  readonly flaw?: string;
}

/**
 * Reads a regular file of the machine, of one beyond 64 KiB the whole lines in front. Symlinks, relative and absolute,
 * are followed as the machine itself would follow them, and never lead outside `hostRoot`: `/etc/os-release` usually
 * is a link into /usr/lib, and through the container's own /usr/lib it would describe the wrong system. Anything but a
 * regular file is never opened: a device may act on it, a pipe may block.
 *
 * `undefined` when there is nothing. Throws the system's error when it cannot be read (EACCES, EIO): that is not the
 * same as a machine without it.
 */
export async function readHostFile(hostRoot: string, path: string): Promise<HostFile | undefined> {
  const resolved = await resolveInside(hostRoot, path);
  const found = resolved === undefined ? undefined : await orMissing(lstat(resolved));
  if (resolved === undefined || found === undefined) return undefined;
  const noFile = { bytes: Buffer.alloc(0), flaw: 'is no regular file and was not opened' };
  if (!found.isFile()) return noFile;
  // it may have been replaced since: a FIFO would block the open for ever, and a link would lead anywhere
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
  const file = await orMissing(open(resolved, flags));
  if (file === undefined) return undefined;
  try {
    return (await file.stat()).isFile() ? await readBounded(file) : noFile;
  } finally {
    await file.close();
  }
}

/** Files of /proc say that they are empty and files that grow say too little, so the size is no guide. */
async function readBounded(file: FileHandle): Promise<HostFile> {
  const chunks: Buffer[] = [];
  let length = 0;
  while (length <= MAX_FILE_BYTES) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, null);
    if (bytesRead === 0) return { bytes: Buffer.concat(chunks) };
    chunks.push(buffer.subarray(0, bytesRead));
    length += bytesRead;
  }
  // half a line would be a wrong value
  const bytes = Buffer.concat(chunks).subarray(0, MAX_FILE_BYTES);
  return {
    bytes: bytes.subarray(0, bytes.lastIndexOf('\n') + 1),
    flaw: `is longer than ${MAX_FILE_BYTES} bytes: the rest was not read`,
  };
}

/** Names in a directory of the machine, not more than 256; `undefined` when there is no such directory. */
export async function listHostDirectory(hostRoot: string, path: string): Promise<string[] | undefined> {
  const resolved = await resolveInside(hostRoot, path);
  const directory = resolved === undefined ? undefined : await orMissing(opendir(resolved));
  if (directory === undefined) return undefined;
  const names: string[] = [];
  for await (const { name } of directory) {
    names.push(name);
    if (names.length >= MAX_LISTED) break;
  }
  return names;
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

/** The code of a system error such as `EACCES`; empty for anything else. */
export function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}
