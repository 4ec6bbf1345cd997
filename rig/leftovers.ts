import { existsSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RIG_GROUP, removeGroup } from './cgroups.ts';

const PREFIX = 'kairos-rig-';

/** Folder and cgroup of a rig carry the process that made it: `kairos-rig-<pid>-<number>`. */
export function nameRig(count: number): string {
  return `${PREFIX}${process.pid}-${count}`;
}

export const rigFolder = (name: string) => path.join(tmpdir(), name);
export const rigGroup = (name: string) => `${RIG_GROUP}/${name}`;

/** Removes what rigs have left whose process is dead. Answers their names. What they mounted went with their namespaces. */
export async function removeLeftovers(): Promise<string[]> {
  const names = new Set([
    ...namesIn(tmpdir()),
    ...hierarchies().flatMap((folder) => namesIn(path.join(folder, RIG_GROUP))),
  ]);
  const dead = [...names].filter((name) => !isAlive(Number(name.slice(PREFIX.length).split('-')[0])));
  for (const name of dead) {
    await removeGroup(rigGroup(name));
    rmSync(rigFolder(name), { recursive: true, force: true });
  }
  return dead;
}

function hierarchies(): string[] {
  const root = '/sys/fs/cgroup';
  if (!existsSync(root)) return [];
  return [root, ...readdirSync(root).map((name) => path.join(root, name))];
}

function namesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).filter((name) => /^kairos-rig-\d+-\d+$/.test(name)) : [];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
