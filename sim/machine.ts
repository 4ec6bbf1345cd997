import { randomUUID } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Slot } from './grub.ts';
import { openDisk, type MachineDisk } from './machine-disk.ts';
import type { Faults } from './machine-faults.ts';
import { runContainer, type ContainerOptions, type RunningContainer } from './machine-process.ts';

/**
 * `recovery`: userspace without Kubernetes, as Kairos does not start it there. `stuck`: no image of this machine
 * reaches userspace; it restarts for ever.
 */
export type Power = 'off' | 'booting' | 'running' | 'recovery' | 'stuck';

export interface BootRecord {
  readonly bootID: string;
  readonly slot: Slot;
  readonly atMs: number;
}

/** One run of `kairos-agent upgrade`. */
export interface WriteRecord {
  readonly bootID: string;
  readonly recovery: boolean;
  readonly atMs: number;
  /** Undefined while it runs, and for ever when it was killed. */
  exitCode: number | undefined;
  durationMs: number | undefined;
}

export interface MachineOptions {
  readonly name: string;
  /** Absolute path of its own folder. */
  readonly folder: string;
  /** Root of the image that is installed in all slots. */
  readonly imageFolder: string;
  /** How long a kernel takes to userspace, or to its panic. */
  readonly bootMs: number;
}

export interface Machine {
  readonly name: string;
  readonly folder: string;
  /** What the running system shows as `/`. */
  readonly root: string;
  readonly disk: MachineDisk;
  readonly faults: Faults;
  readonly power: Power;
  /** Of the system that runs; undefined when none does. */
  readonly bootID: string | undefined;
  readonly slot: Slot | undefined;
  /** All boots that reached userspace, oldest first. */
  readonly boots: readonly BootRecord[];
  /** All runs of `kairos-agent upgrade`, oldest first. */
  readonly writes: readonly WriteRecord[];
  /** Starts it, unless it is on or held. */
  powerOn(options?: { bootMs?: number }): void;
  /** Cuts the power: every container is gone at once. */
  powerOff(): void;
  /** Power off and on. */
  reboot(): void;
  /** From the next power-off on it stays off, until {@link Machine.release}, which starts it. */
  hold(): void;
  release(): void;
  /** Resolves when it runs (in any slot, recovery included) or is stuck. */
  settled(): Promise<Power>;
  /** Calls back at each change; returns the way out. */
  onPower(listener: (power: Power) => void): () => void;
  /** Calls back when it hangs on its way down; returns the way out. */
  onHang(listener: () => void): () => void;
  /** Starts a container's command on it. Throws when it does not run. */
  run(options: ContainerOptions): RunningContainer;
}

/** `reboot` returns before the machine goes down. */
const SHUTDOWN_MS = 50;
/** `panic=5` restarts such a machine for ever; after this many kernels the answer will not change any more. */
const MAX_KERNELS = 6;

/** A machine that is installed and off. */
export function buildMachine(options: MachineOptions): Machine {
  const { name, folder } = options;
  mkdirSync(folder, { recursive: true });
  const disk = openDisk(folder);
  disk.install(options.imageFolder);

  let power: Power = 'off';
  let held = false;
  let running: BootRecord | undefined;
  let timer: NodeJS.Timeout | undefined;
  const boots: BootRecord[] = [];
  const writes: WriteRecord[] = [];
  const containers = new Set<RunningContainer>();
  const listeners = new Set<(power: Power) => void>();
  const hangListeners = new Set<() => void>();
  const faults: Faults = {};

  function say(line: string): void {
    appendFileSync(join(folder, 'console.log'), `${line}\n`);
  }

  function turn(to: Power): void {
    power = to;
    for (const listener of listeners) listener(to);
  }

  function startKernel(count: number, bootMs: number): void {
    const start = disk.startLoader();
    const { slot, loaderEntry } = start;
    const loader = loaderEntry === undefined ? 'GRUB' : 'systemd-boot';
    if (slot === undefined || count > MAX_KERNELS) {
      say(`${loader}: nothing that boots`);
      turn('stuck');
      return;
    }
    say(
      `${loader}: starting ${loaderEntry ?? slot}${start.upgradeFailure ? ', as the upgraded image did not boot' : ''}`,
    );
    timer = setTimeout(() => {
      if (!disk.boots(slot)) {
        say(`Kernel panic - not syncing: no init found in ${slot}. Rebooting in 5 seconds..`);
        startKernel(count + 1, bootMs);
        return;
      }
      disk.reachedUserspace(slot);
      running = { bootID: randomUUID(), slot, atMs: Date.now() };
      disk.startRoot({ ...start, slot, bootID: running.bootID });
      boots.push(running);
      turn(slot === 'recovery' ? 'recovery' : 'running');
    }, bootMs);
  }

  function powerOn({ bootMs = options.bootMs }: { bootMs?: number } = {}): void {
    if (power !== 'off' || held) return;
    turn('booting');
    startKernel(1, bootMs);
  }

  function powerOff(): void {
    clearTimeout(timer);
    if (power === 'off') return;
    for (const container of containers) container.kill();
    containers.clear();
    running = undefined;
    turn('off');
  }

  function reboot(): void {
    powerOff();
    powerOn();
  }

  function run(container: ContainerOptions): RunningContainer {
    if (running === undefined) throw new Error(`machine ${name} is ${power}: power it on and wait until it runs`);
    const { bootID } = running;
    const started = runContainer(container, {
      machine: folder,
      root: disk.root,
      faults,
      onReboot: (forced) => {
        if (faults.reboot !== undefined && !forced) {
          if (faults.reboot === 'hangs') for (const listener of hangListeners) listener();
          return;
        }
        // Of this boot only: a late word must not take down the next one.
        const goDown = (): void => (running?.bootID === bootID ? reboot() : undefined);
        timer = setTimeout(goDown, SHUTDOWN_MS);
      },
      onWrite: (recovery) => {
        const write: WriteRecord = { bootID, recovery, atMs: Date.now(), exitCode: undefined, durationMs: undefined };
        writes.push(write);
        return (exitCode) => Object.assign(write, { exitCode, durationMs: Date.now() - write.atMs });
      },
    });
    containers.add(started);
    void started.ended.then(() => containers.delete(started));
    return started;
  }

  return {
    name,
    folder,
    root: disk.root,
    disk,
    faults,
    get power() {
      return power;
    },
    get bootID() {
      return running?.bootID;
    },
    get slot() {
      return running?.slot;
    },
    boots,
    writes,
    powerOn,
    powerOff,
    reboot,
    hold() {
      held = true;
    },
    release() {
      held = false;
      powerOn();
    },
    settled: () =>
      new Promise((resolve) => {
        const ask = (now: Power): void => {
          if (now === 'off' || now === 'booting') return;
          listeners.delete(ask);
          resolve(now);
        };
        listeners.add(ask);
        ask(power);
      }),
    onPower(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onHang(listener) {
      hangListeners.add(listener);
      return () => hangListeners.delete(listener);
    },
    run,
  };
}
