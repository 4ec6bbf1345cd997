import { spawn } from 'node:child_process';
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Faults } from './machine-faults.ts';
import { unwatch, watch } from './watchdog.ts';

export interface ContainerOptions {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Root of the image that the container runs in; it gets a copy of its own. */
  readonly imageFolder: string;
  /** Told in the output. */
  readonly imageName?: string;
  /** How long `kairos-agent upgrade` writes. */
  readonly upgradeMs: number;
}

export interface ContainerExit {
  readonly exitCode: number;
  /** The kernel killed it for want of memory. */
  readonly outOfMemory: boolean;
  /** What the container wrote to its termination log. */
  readonly terminationLog: string;
  /** The last 2 KiB of its output. */
  readonly output: string;
}

export interface RunningContainer {
  /** Undefined when it was killed. */
  readonly ended: Promise<ContainerExit | undefined>;
  /** Asks its first process to end, as kubelet does; what that leaves behind ends with it. */
  terminate(): void;
  /** As the loss of power does: everything in it is gone at once, and what it wrote stays. */
  kill(): void;
}

interface Surroundings {
  /** The machine's folder. */
  readonly machine: string;
  readonly root: string;
  readonly faults: Faults;
  /** Called when a command in the container reboots the machine. */
  readonly onReboot: (forced: boolean) => void;
  /** Called when the container begins to write an image; what it returns, when that has ended. */
  readonly onWrite: (recovery: boolean) => (exitCode: number) => void;
}

const SHIMS = fileURLToPath(new URL('shims', import.meta.url));
const TAIL_BYTES = 2048;
const TERMINATION_LOG_BYTES = 4096;
/** Between two renames of the slots: long enough to be killed in. */
const PAUSE_SECONDS = '0.03';
let containers = 0;

/**
 * Runs a container's own command as a child of this process, with the files of a simulated machine in the place of the
 * host's: shims in front of PATH stand in for the commands that would touch a real machine. For scripts of this project
 * only: nothing confines the command.
 */
export function runContainer(options: ContainerOptions, around: Surroundings): RunningContainer {
  const folder = join(around.machine, 'containers', String(++containers));
  const imageRoot = join(folder, 'image');
  const terminationLog = join(folder, 'termination-log');
  mkdirSync(folder, { recursive: true });
  cpSync(options.imageFolder, imageRoot, { recursive: true });

  const [program = '/bin/sh', ...args] = options.command;
  const child = spawn(program, args, {
    cwd: imageRoot,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: {
      ...options.env,
      PATH: `${SHIMS}:/usr/bin:/bin`,
      HOST_DIR: around.root,
      IMAGE_ROOT: imageRoot,
      TERMINATION_LOG: terminationLog,
      SIM_MACHINE: around.machine,
      SIM_IMAGE: options.imageName ?? options.imageFolder,
      SIM_UPGRADE_SECONDS: String(options.upgradeMs / 1000),
      SIM_PAUSE_SECONDS: PAUSE_SECONDS,
      ...(around.faults.upgradeFails !== undefined && { SIM_UPGRADE_FAILS: around.faults.upgradeFails }),
      ...(around.faults.rebootsItself === true && { SIM_REBOOTS_ITSELF: 'yes' }),
      ...(around.faults.upgradeOutOfMemory === true && { SIM_UPGRADE_OUT_OF_MEMORY: 'yes' }),
    },
  });
  const { pid } = child;
  if (pid !== undefined) watch(pid);

  let output = '';
  let killed = false;
  let outOfMemory = false;
  const keep = (data: Buffer): void => {
    output = (output + data.toString()).slice(-TAIL_BYTES);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  let writeEnded: ((exitCode: number) => void) | undefined;
  const heard = (line: string): void => {
    const [what, happened, detail] = line.split(' ');
    if (what === 'reboot') around.onReboot(happened === '-f');
    else if (what === 'out-of-memory') outOfMemory = true;
    else if (happened === 'started') writeEnded = around.onWrite(detail === 'yes');
    else if (happened === 'ended') writeEnded?.(Number(detail));
  };
  // What the shims have to say. Lines this short arrive whole.
  child.stdio[3]?.on('data', (data: Buffer) => data.toString().trim().split('\n').forEach(heard));

  const signalAll = (): void => {
    if (pid === undefined) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  child.once('exit', signalAll);

  const ended = new Promise<ContainerExit | undefined>((resolve) => {
    const end = (exitCode: number): void => {
      if (pid !== undefined) unwatch(pid);
      const report = existsSync(terminationLog)
        ? readFileSync(terminationLog, 'utf8').slice(0, TERMINATION_LOG_BYTES)
        : '';
      if (existsSync(around.machine)) {
        const end = killed ? 'killed' : `exit code ${exitCode}`;
        appendFileSync(
          join(around.machine, 'console.log'),
          `${program} ${args.at(0) ?? ''} ended: ${end}\n${output}\n`,
        );
      }
      rmSync(folder, { recursive: true, force: true });
      resolve(killed ? undefined : { exitCode, outOfMemory, terminationLog: report, output });
    };
    child.once('close', (code) => end(code ?? 137));
    child.once('error', (error) => {
      output += error.message;
      if (pid === undefined) end(128);
    });
  });

  return {
    ended,
    terminate: () => void child.kill('SIGTERM'),
    kill() {
      killed = true;
      signalAll();
    },
  };
}
