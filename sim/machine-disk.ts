import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UNASSIGNED, openEfiPartition } from './efi-partition.ts';
import {
  SLOTS,
  commandLine,
  formatEnvironment,
  parseEnvironment,
  reachedUserspace,
  throughGrub,
  type GrubState,
  type Slot,
} from './grub.ts';
import { DOES_NOT_BOOT } from './images.ts';
import { UKI_COMMAND_LINE, loaderVariables } from './systemd-boot.ts';

/** What the boot loader started, and what it says of it to the system. */
export interface Start {
  /** Undefined when it could load nothing. */
  readonly slot: Slot | undefined;
  readonly upgradeFailure: boolean;
  /** With trusted boot: the entry that was chosen. */
  readonly loaderEntry?: string;
}

/** What a simulated machine keeps while its power is off, and the root that a boot makes of it. */
export interface MachineDisk {
  /** What the running system shows as `/`. */
  readonly root: string;
  /**
   * Puts an image into all three slots, as an installation does. An image that carries signed files makes it a machine
   * with trusted boot, which systemd-boot starts; any other one that GRUB starts.
   */
  install(imageFolder: string): void;
  /** Where a slot's files are. */
  slotFolder(slot: Slot): string;
  /** Whether the kernel of that slot reaches userspace. */
  boots(slot: Slot): boolean;
  /** GRUB's files. */
  readGrub(): GrubState;
  /** One way through the boot loader. */
  startLoader(): Start;
  reachedUserspace(slot: Slot): void;
  /** A new root: the slot's files, a fresh /run, and a /proc that tells of this boot. */
  startRoot(boot: Start & { slot: Slot; bootID: string }): void;
}

/** The disk of one machine, in `folder`: `slots/`, `grubenv`, `boot_assessment`, or `efi/`; `root/` is what runs. */
export function openDisk(folder: string): MachineDisk {
  const efi = openEfiPartition(join(folder, 'efi'));
  const hasTrustedBoot = (): boolean => existsSync(efi.folder);
  const slotFolder = (slot: Slot): string => (hasTrustedBoot() ? efi.slotFolder(slot) : join(folder, 'slots', slot));
  const root = join(folder, 'root');
  const grubenv = join(folder, 'grubenv');
  const assessment = join(folder, 'boot_assessment');

  const readGrub = (): GrubState => ({ grubenv: readEnvironment(grubenv), assessment: readEnvironment(assessment) });
  const writeGrub = (state: GrubState): void => {
    writeFileSync(grubenv, formatEnvironment(state.grubenv));
    writeFileSync(assessment, formatEnvironment(state.assessment));
  };

  return {
    root,
    install(imageFolder) {
      rmSync(join(folder, 'slots'), { recursive: true, force: true });
      rmSync(efi.folder, { recursive: true, force: true });
      if (existsSync(join(imageFolder, UNASSIGNED))) {
        efi.install(imageFolder);
        return;
      }
      for (const slot of SLOTS) cpSync(imageFolder, slotFolder(slot), { recursive: true });
      for (const file of [grubenv, assessment]) writeFileSync(file, formatEnvironment({}));
    },
    slotFolder,
    readGrub,
    boots: (slot) => !existsSync(join(slotFolder(slot), DOES_NOT_BOOT)),
    startLoader() {
      if (hasTrustedBoot()) {
        const { slot, selected } = efi.start();
        return { slot, upgradeFailure: false, loaderEntry: selected };
      }
      const loadable = new Set(SLOTS.filter((slot) => existsSync(slotFolder(slot))));
      const { state, ...pass } = throughGrub(readGrub(), loadable);
      writeGrub(state);
      return pass;
    },
    reachedUserspace(slot) {
      if (hasTrustedBoot()) efi.bless(slot);
      else writeGrub(reachedUserspace(slot, readGrub()));
    },
    startRoot({ slot, upgradeFailure, bootID, loaderEntry }) {
      rmSync(root, { recursive: true, force: true });
      cpSync(slotFolder(slot), root, { recursive: true });
      const files: Record<string, string | Buffer> = {
        'proc/cmdline': `${loaderEntry === undefined ? commandLine(slot, upgradeFailure) : UKI_COMMAND_LINE}\n`,
        ...(loaderEntry === undefined ? {} : { 'run/cos/uki_boot_mode': '1\n', ...loaderVariables(loaderEntry) }),
        'proc/sys/kernel/random/boot_id': `${bootID}\n`,
        [`run/cos/${slot}_mode`]: '1\n',
        ...(upgradeFailure ? { 'run/cos/upgrade_failure': '1\n' } : {}),
      };
      for (const [path, text] of Object.entries(files)) {
        const file = join(root, path);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, text);
      }
      for (const path of ['dev', 'etc', 'run/initramfs', 'tmp', 'usr/local'])
        mkdirSync(join(root, path), { recursive: true });
      if (loaderEntry !== undefined) {
        symlinkSync('../efi', join(root, 'efi'));
        return;
      }
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
