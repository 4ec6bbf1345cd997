import { existsSync, readFileSync, readdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Every process of every rig is in a cgroup below this one, and nothing else is: that is how leftovers are found. */
export const RIG_GROUP = 'kairos-rig';

const ROOT = '/sys/fs/cgroup';
const GONE_WITHIN_MS = 10_000;

/** The process ids in a cgroup and in those below it, in whichever hierarchy. */
function processesIn(group: string): number[] {
  const files = folders(group).map((folder) => path.join(folder, 'cgroup.procs'));
  const lines = files.flatMap((file) => readOrNothing(file).split('\n'));
  return [...new Set(lines.filter((line) => line !== '').map(Number))].filter((pid) => pid > 0);
}

/**
 * Kills everything in a cgroup and below, and removes the groups. Does nothing where there is none.
 * @throws Error that names the processes that do not go
 */
export async function removeGroup(group: string): Promise<void> {
  const giveUpAtMs = Date.now() + GONE_WITHIN_MS;
  for (let pids = processesIn(group); pids.length > 0; pids = processesIn(group)) {
    for (const pid of pids) killNow(pid);
    if (Date.now() > giveUpAtMs)
      throw new Error(`processes that do not go: ${pids.join(', ')}, in the cgroup ${group}`);
    await sleep(20);
  }
  for (;;) {
    const left = folders(group)
      .toReversed()
      .filter((folder) => !removed(folder));
    if (left.length === 0) break;
    // The kernel takes a moment to forget the last process of a group.
    if (Date.now() > giveUpAtMs) throw new Error(`cgroups that do not go: ${left.join(', ')}`);
    await sleep(20);
  }
  // The last rig takes the group of all along.
  for (const folder of folders(RIG_GROUP).filter((folder) => path.basename(folder) === RIG_GROUP)) removed(folder);
}

/** Of all hierarchies, a group before those below it. */
function folders(group: string): string[] {
  if (!existsSync(ROOT)) return [];
  const hierarchies = existsSync(path.join(ROOT, 'cgroup.controllers'))
    ? [ROOT]
    : readdirSync(ROOT).map((name) => path.join(ROOT, name));
  return hierarchies.flatMap((hierarchy) => below(path.join(hierarchy, group)));
}

function below(folder: string): string[] {
  if (!existsSync(folder)) return [];
  try {
    const children = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [folder, ...children.flatMap(({ name }) => below(path.join(folder, name)))];
  } catch {
    return []; // gone meanwhile
  }
}

function removed(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
