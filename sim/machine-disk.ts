import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SLOTS, commandLine, formatEnvironment, parseEnvironment, type GrubState, type Slot } from './grub.ts';
import { DOES_NOT_BOOT } from './images.ts';

/** What a simulated machine keeps while its power is off, and the root that a boot makes of it. */
export interface MachineDisk {
  /** What the running system shows as `/`. */
  readonly root: string;
  /** Puts an image into all three slots, as an installation does, and clears GRUB's files. */
  install(imageFolder: string): void;
  /** The slots that GRUB can load. */
  loadable(): ReadonlySet<Slot>;
  /** Whether the kernel of that slot reaches userspace. */
  boots(slot: Slot): boolean;
  readGrub(): GrubState;
  writeGrub(state: GrubState): void;
  /** A new root: the slot's files, a fresh /run, and a /proc that tells of this boot. */
  startRoot(boot: { slot: Slot; upgradeFailure: boolean; bootID: string }): void;
}

/** The disk of one machine, in `folder`: `slots/`, `grubenv`, `boot_assessment`, `root/`. */
export function openDisk(folder: string): MachineDisk {
  const slotFolder = (slot: Slot): string => join(folder, 'slots', slot);
  const root = join(folder, 'root');
  const grubenv = join(folder, 'grubenv');
  const assessment = join(folder, 'boot_assessment');

  return {
    root,
    install(imageFolder) {
      rmSync(join(folder, 'slots'), { recursive: true, force: true });
      for (const slot of SLOTS) cpSync(imageFolder, slotFolder(slot), { recursive: true });
      for (const file of [grubenv, assessment]) writeFileSync(file, formatEnvironment({}));
    },
    loadable: () => new Set(SLOTS.filter((slot) => existsSync(slotFolder(slot)))),
    boots: (slot) => !existsSync(join(slotFolder(slot), DOES_NOT_BOOT)),
    readGrub: () => ({ grubenv: readEnvironment(grubenv), assessment: readEnvironment(assessment) }),
    writeGrub(state) {
      writeFileSync(grubenv, formatEnvironment(state.grubenv));
      writeFileSync(assessment, formatEnvironment(state.assessment));
    },
    startRoot({ slot, upgradeFailure, bootID }) {
      rmSync(root, { recursive: true, force: true });
      cpSync(slotFolder(slot), root, { recursive: true });
      const files: Record<string, string> = {
        'proc/cmdline': `${commandLine(slot, upgradeFailure)}\n`,
        'proc/sys/kernel/random/boot_id': `${bootID}\n`,
        [`run/cos/${slot}_mode`]: '1\n',
        ...(upgradeFailure ? { 'run/cos/upgrade_failure': '1\n' } : {}),
      };
      for (const [path, text] of Object.entries(files)) {
        const file = join(root, path);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, text);
      }
      for (const path of ['dev', 'etc', 'run/initramfs', 'tmp']) mkdirSync(join(root, path), { recursive: true });
      // Where the running system has the partition that holds the slots and GRUB's files.
      symlinkSync('../../..', join(root, 'run/initramfs/cos-state'));
    },
  };
}

/** The release files of the system that runs, for what its kubelet tells the API server. */
export function readRelease(root: string): string {
  const etc = join(root, 'etc');
  if (!existsSync(etc)) return '';
  return readdirSync(etc)
    .filter((name) => name.endsWith('-release'))
    .map((name) => readFileSync(join(etc, name), 'utf8'))
    .join('\n');
}

function readEnvironment(file: string): Record<string, string> {
  return existsSync(file) ? parseEnvironment(readFileSync(file, 'utf8')) : {};
}
