import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

interface Running {
  pid: number;
  parent: number;
  command: string;
}

/** All processes where there is a /proc; elsewhere none are seen, and none are missed by the tests. */
function processes(): Running[] {
  if (!existsSync('/proc/self/stat')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return state === 'Z' ? [] : [{ pid: Number(name), parent: Number(parent), command }];
      } catch {
        return [];
      }
    });
}

/** The processes that this one has started. */
export const children = () => new Set(processes().flatMap(({ pid, parent }) => (parent === process.pid ? [pid] : [])));

/** Children of ours that were not there before, and whatever else was started with this folder in its command. */
export async function processesLeft(folder: string, before: ReadonlySet<number>): Promise<string[]> {
  const giveUpAtMs = Date.now() + 5000;
  for (;;) {
    const left = processes().filter(
      ({ pid, parent, command }) =>
        pid !== process.pid && ((parent === process.pid && !before.has(pid)) || command.includes(folder)),
    );
    if (left.length === 0 || Date.now() > giveUpAtMs) return left.map(({ pid, command }) => `${pid} ${command}`);
    await sleep(100);
  }
}
