import { spawn, type ChildProcess } from 'node:child_process';

/**
 * Ends what this process started when this process ends in any way, SIGKILL included.
 *
 * A small shell, in a session of its own so that Ctrl-C does not reach it, reads process groups from a pipe whose other
 * end only this process holds. The kernel closes that end however we end; the shell then kills what is still listed.
 * No signal handler of ours is needed, and it works the same on Linux and macOS, unlike PR_SET_PDEATHSIG, which also
 * leaves grandchildren alive and fires when only the thread that forked ends.
 */
const SCRIPT = `
groups=' '
while read -r sign group; do
  case "$sign" in
    +) groups="$groups$group " ;;
    -) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
`;

const watched = new Set<number>();
let shell: ChildProcess | undefined;

/** Has the process group `pid` killed when this process ends. Call {@link unwatch} as soon as the group is gone. */
export function watch(pid: number): void {
  watched.add(pid);
  tell(`+ ${pid}`);
}

/** Forgets the process group: its number may soon belong to somebody else. */
export function unwatch(pid: number): void {
  if (!watched.delete(pid)) return;
  tell(`- ${pid}`);
  if (watched.size > 0) return;
  shell?.stdin?.end();
  shell = undefined;
}

function tell(line: string): void {
  shell ??= startShell();
  shell.stdin?.write(`${line}\n`);
}

function startShell(): ChildProcess {
  const started = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'], cwd: '/' });
  started.unref();
  // A pipe to a child is a socket whose handle would keep the event loop alive.
  (started.stdin as unknown as { unref?: () => void }).unref?.();
  started.stdin?.on('error', () => undefined);
  return started;
}
