import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ImageError, levelTree } from './context.ts';

const run = promisify(execFile);

/** Whom an image runs as, besides root. */
export interface User {
  readonly name: string;
  readonly id: number;
}

/** The libraries that node and the SDK's native module link, and what looks up names. */
const LIBRARIES =
  'libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libresolv.so.2 libnss_dns.so.2 libnss_files.so.2 libgcc_s.so.1 libstdc++.so.6';
const MULTIARCH = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const;
const LOADER = { x64: 'usr/lib64/ld-linux-x86-64.so.2', arm64: 'usr/lib/ld-linux-aarch64.so.1' } as const;
const BUSYBOX = 'usr/bin/busybox';

/**
 * A root file system laid out as distroless nodejs24 is: node, the libraries that it links, a user, /tmp, and no shell. Node is that of the npm package that also runs the tests.
 */
export async function layNodeRoot(debian: string, root: string, user: User): Promise<void> {
  const { arch } = process;
  if (arch !== 'x64' && arch !== 'arm64') throw new ImageError(`no test images on ${arch}: use x64 or arm64`);
  const libraries = LIBRARIES.split(' ').map((library) => join('usr/lib', MULTIARCH[arch], library));
  for (const file of [...libraries, LOADER[arch]]) await take(join(debian, file), join(root, file));
  await mkdir(join(root, 'usr/lib64'), { recursive: true });
  for (const folder of ['lib', 'lib64']) await symlink(`usr/${folder}`, join(root, folder));
  await take(join(debian, 'usr/lib/os-release'), join(root, 'etc/os-release'));
  const node = join(import.meta.dirname, `../../node_modules/node-linux-${arch}/bin/node`);
  await take(node, join(root, 'nodejs/bin/node'));
  await layCommon(root, user);
}

/** A root file system with a shell and the usual small programs, all of them one static busybox. */
export async function layShellRoot(debian: string, root: string, user: User): Promise<void> {
  await layBusybox(debian, root);
  const { stdout } = await run(join(debian, BUSYBOX), ['--list']);
  await mkdir(join(root, 'bin'), { recursive: true });
  for (const applet of stdout.split('\n').filter((name) => name !== '' && name !== 'busybox'))
    await symlink(`/${BUSYBOX}`, join(root, 'bin', applet));
  await layCommon(root, user);
}

/** One static program, and nothing else. */
export async function layBusybox(debian: string, root: string): Promise<void> {
  await take(join(debian, BUSYBOX), join(root, BUSYBOX));
  await levelTree(root);
}

async function layCommon(root: string, { name, id }: User): Promise<void> {
  const etc = join(root, 'etc');
  await mkdir(etc, { recursive: true });
  const users = ['root:x:0:0:root:/root:/sbin/nologin', `${name}:x:${id}:${id}:${name}:/home/${name}:/sbin/nologin`];
  await writeFile(join(etc, 'passwd'), `${users.join('\n')}\n`);
  await writeFile(join(etc, 'group'), `root:x:0:\n${name}:x:${id}:\n`);
  await writeFile(join(etc, 'nsswitch.conf'), 'hosts: files dns\n');
  await mkdir(join(root, 'tmp'), { recursive: true });
  await levelTree(root);
  await chmod(join(root, 'tmp'), 0o1777);
}

/** The file itself, also where the name is a link to it. */
async function take(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { dereference: true });
}
