import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SLOTS, type Slot } from './grub.ts';
import { blessed, throughSystemdBoot, type LoaderPass } from './systemd-boot.ts';

/** Below the root of an image, or of the EFI partition: the signed files. One of them is a folder here. */
const SIGNED = 'EFI/kairos';
const ENTRIES = 'loader/entries';
/** Where an image carries them. */
const TRUSTED_BOOT = 'trusted-boot';
/** A signed file that has no slot yet, as kairos-agent calls it. */
export const UNASSIGNED = join(TRUSTED_BOOT, SIGNED, 'norole.efi');

/** The EFI partition of a machine with trusted boot: a signed file and an entry of the loader for each slot. */
export interface EfiPartition {
  readonly folder: string;
  slotFolder(slot: Slot): string;
  /** Puts an image into all slots, each on trial, as an installation does. */
  install(imageFolder: string): void;
  loadable(): ReadonlySet<Slot>;
  /** Starts the loader, which renames the entry that it tries. */
  start(): LoaderPass;
  /** Userspace was reached. */
  bless(slot: Slot): void;
}

export function openEfiPartition(folder: string): EfiPartition {
  const slotFolder = (slot: Slot): string => join(folder, SIGNED, `${slot}.efi`);
  const entries = join(folder, ENTRIES);
  const names = (): string[] => (existsSync(entries) ? readdirSync(entries).sort() : []);
  const loadable = (): ReadonlySet<Slot> => new Set(SLOTS.filter((slot) => existsSync(slotFolder(slot))));
  const rename = (before: readonly string[], after: readonly string[]): void => {
    for (const [index, name] of before.entries()) {
      const to = after[index] ?? name;
      if (to !== name) renameSync(join(entries, name), join(entries, to));
    }
  };

  return {
    folder,
    slotFolder,
    install(imageFolder) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(entries, { recursive: true });
      for (const slot of SLOTS) {
        cpSync(join(imageFolder, UNASSIGNED), slotFolder(slot), { recursive: true });
        writeFileSync(join(entries, `${slot}+3.conf`), `title Kairos\nefi /EFI/kairos/${slot}.efi\n`);
      }
    },
    loadable,
    start() {
      const before = names();
      const pass = throughSystemdBoot(before, loadable());
      rename(before, pass.entries);
      return pass;
    },
    bless(slot) {
      const before = names();
      rename(before, blessed(slot, before));
    },
  };
}
