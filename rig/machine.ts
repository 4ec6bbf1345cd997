import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync, closeSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { throughGrub, type Slot } from '../sim/grub.ts';
import { unwatch, watch } from '../sim/watchdog.ts';
import { removeGroup } from './cgroups.ts';
import { openDisk, type Disk } from './disk.ts';
import { addressOf, type MachineIdentity } from './machine-files.ts';

/** `stuck`: no image of this machine reaches userspace. */
export type Power = 'off' | 'running' | 'stuck';

export interface Boot {
  readonly bootID: string;
  readonly slot: Slot;
  readonly atMs: number;
}

export interface MachineOptions extends MachineIdentity {
  /** Absolute path of its own folder. */
  readonly folder: string;
  /** Its cgroup; see cgroups.ts. */
  readonly group: string;
  /** A process in the network namespace of the switch. */
  readonly switchPID: number;
  /** Folder with the programs of a node. */
  readonly binaries: string;
  readonly onPowerOff?: () => void;
}

/** A machine with a firmware of ours and everything else as real as namespaces allow. */
export interface Machine extends MachineIdentity {
  readonly disk: Disk;
  readonly consoleFile: string;
  readonly power: Power;
  /** All kernels that were started, oldest first; those that panicked are among them. */
  readonly boots: readonly Boot[];
  /** Times without power. The machine does not know when its node is Ready again. */
  readonly cuts: readonly number[];
  powerOn(): void;
  /** Cuts the power. Resolves when nothing of the machine runs any more. */
  powerOff(): Promise<void>;
  /** Stays off at its next power-off, be it by itself, until it is powered on. */
  hold(): void;
}

const RIG = fileURLToPath(new URL('.', import.meta.url));
/** From power-off to GRUB. */
const FIRMWARE_MS = 1000;
/** `panic=5` restarts such a machine for ever; after this many kernels the answer will not change any more. */
const MAX_PANICS = 6;
/** The kernel ends the first process of a PID namespace by this signal when something in it asks for a restart. */
const RESTART = 'SIGHUP';
const POWER_OFF = 'SIGINT';
const SIGNAL_CODES: Readonly<Record<number, NodeJS.Signals>> = { 129: RESTART, 130: POWER_OFF, 137: 'SIGKILL' };

/** A machine that is off. Its disk must be installed before it is powered on. */
export function buildMachine(options: MachineOptions): Machine {
  const { name, folder, group } = options;
  const disk = openDisk(folder);
  const consoleFile = path.join(folder, 'console.log');
  const boots: Boot[] = [];
  const cuts: number[] = [];
  let power: Power = 'off';
  let held = false;
  let panics = 0;
  let kernel: { child: ChildProcess; gone: Promise<void> } | undefined;
  let timer: NodeJS.Timeout | undefined;

  const say = (line: string) => appendFileSync(consoleFile, `${new Date().toISOString()} ${line}\n`);

  function startKernel(): void {
    const pass = throughGrub(disk.readGrub(), disk.loadable());
    disk.writeGrub(pass.state);
    const { slot, upgradeFailure } = pass;
    if (slot === undefined || panics > MAX_PANICS) {
      say('GRUB: nothing that boots');
      power = 'stuck';
      return;
    }
    const bootID = randomUUID();
    const bootRoot = disk.prepareBoot({ slot, upgradeFailure, bootID });
    say(`GRUB: starting ${slot}${upgradeFailure ? ', as the upgraded image did not boot' : ''}`);
    boots.push({ bootID, slot, atMs: Date.now() });
    const console = openSync(consoleFile, 'a');
    const namespaces = ['unshare', '-m', '-n', '-p', '-u', '-i', '-C', '-f', '--kill-child=SIGKILL'];
    const child = spawn(
      path.join(RIG, 'machine', 'launch.sh'),
      [group, ...namespaces, path.join(RIG, 'machine', 'kernel.sh')],
      {
        detached: true,
        stdio: ['ignore', console, console],
        cwd: folder,
        env: {
          PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
          NAME: name,
          ADDRESS: addressOf(options),
          MACHINE: folder,
          SLOT: slot,
          FAILED: upgradeFailure ? 'yes' : '',
          BOOT_ROOT: bootRoot,
          SWITCH: String(options.switchPID),
          BIN: options.binaries,
          RIG,
          OUTER_PID_NAMESPACE: readlinkSync('/proc/self/ns/pid'),
        },
      },
    );
    closeSync(console);
    const { pid } = child;
    if (pid !== undefined) watch(pid);
    power = 'running';
    const gone = new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        if (pid !== undefined) unwatch(pid);
        removeGroup(group).then(() => {
          resolve();
          if (kernel?.child === child) wentDown(signal ?? SIGNAL_CODES[code ?? 0] ?? `code ${code}`);
        }, reject);
      });
    });
    kernel = { child, gone };
  }

  function wentDown(how: string): void {
    kernel = undefined;
    power = 'off';
    cuts.push(Date.now());
    options.onPowerOff?.();
    const panicked = how !== RESTART && how !== POWER_OFF && how !== 'SIGKILL';
    say(panicked ? `Kernel panic (${how}), restarting` : `power off (${how})`);
    panics = panicked ? panics + 1 : 0;
    if (held || !(panicked || how === RESTART)) return;
    timer = setTimeout(startKernel, FIRMWARE_MS);
  }

  return {
    ...options,
    disk,
    consoleFile,
    get power() {
      return power;
    },
    boots,
    cuts,
    powerOn() {
      held = false;
      if (power !== 'off' || kernel !== undefined) return;
      clearTimeout(timer);
      startKernel();
    },
    async powerOff() {
      held = true;
      clearTimeout(timer);
      const running = kernel;
      if (running?.child.pid === undefined) return;
      process.kill(-running.child.pid, 'SIGKILL');
      await running.gone;
    },
    hold() {
      held = true;
    },
  };
}

/** The end of a machine's console, for messages. */
export function consoleTail({ consoleFile }: Pick<Machine, 'consoleFile'>, lines = 15): string {
  try {
    return readFileSync(consoleFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return 'nothing on its console';
  }
}
