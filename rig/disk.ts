import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { SLOTS, commandLine, parseEnvironment, type GrubState, type Slot } from '../sim/grub.ts';
import { environmentBlock } from './grub-block.ts';

/** What a machine keeps while its power is off. */
export interface Disk {
  /** What the machine mounts of it; see machine/kernel.sh. */
  readonly folder: string;
  /** Puts an image into all slots, as an installation does. `root`: its files, which are linked, not copied. */
  install(root: string): void;
  loadable(): ReadonlySet<Slot>;
  readGrub(): GrubState;
  writeGrub(state: GrubState): void;
  /** The files of a boot: the slot's root, and what /proc will tell of it. Answers the folder of that root. */
  prepareBoot(boot: { slot: Slot; upgradeFailure: boolean; bootID: string }): string;
  /** What `kairos-agent upgrade` of this machine has recorded, oldest first. */
  writes(): WriteLine[];
}

export interface WriteLine {
  readonly bootID: string;
  readonly recovery: boolean;
  readonly atMs: number;
  /** Undefined while it runs, and for ever when it was killed. */
  readonly exitCode: number | undefined;
}

/** The disk of one machine, in `folder`. Made where there is none. */
export function openDisk(folder: string): Disk {
  const at = (...names: string[]) => path.join(folder, ...names);
  for (const name of ['empty', 'state-work', 'ephemeral', 'root', 'boot', 'oem'])
    mkdirSync(at(name), { recursive: true });
  mkdirSync(at('state', 'cOS'), { recursive: true });
  for (const name of ['local', 'var/lib']) mkdirSync(at('persistent', name), { recursive: true });
  const slotFolder = (slot: Slot) => at('state', 'cOS', slot);
  const files = { grubenv: at('state', 'grubenv'), assessment: at('state', 'boot_assessment') };

  function writeGrub(state: GrubState): void {
    writeFileSync(files.grubenv, environmentBlock(state.grubenv));
    writeFileSync(files.assessment, environmentBlock(state.assessment));
  }

  return {
    folder,
    install(root) {
      for (const slot of SLOTS) {
        rmSync(slotFolder(slot), { recursive: true, force: true });
        mkdirSync(slotFolder(slot));
        linkTree(root, slotFolder(slot));
      }
      writeGrub({ grubenv: {}, assessment: {} });
    },
    loadable: () => new Set(SLOTS.filter((slot) => existsSync(slotFolder(slot)))),
    readGrub: () => ({ grubenv: readEnvironment(files.grubenv), assessment: readEnvironment(files.assessment) }),
    writeGrub,
    prepareBoot({ slot, upgradeFailure, bootID }) {
      const root = at('boot', 'root');
      rmSync(root, { recursive: true, force: true });
      mkdirSync(root);
      // Links: an upgrade replaces files of a slot and never changes one in place.
      linkTree(slotFolder(slot), root);
      writeFileSync(at('boot', 'boot_id'), `${bootID}\n`);
      writeFileSync(at('boot', 'cmdline'), `${commandLine(slot, upgradeFailure)}\n`);
      return root;
    },
    writes() {
      const file = at('persistent', 'local', '.kairos-writes');
      return existsSync(file) ? parseWrites(readFileSync(file, 'utf8')) : [];
    },
  };
}

/** Lines of the stand-in for kairos-agent: `<ms> <boot id> <yes|no: recovery> started`, `… ended <exit code>`. */
export function parseWrites(text: string): WriteLine[] {
  const writes: WriteLine[] = [];
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const [ms, bootID = '', recovery, what, code] = line.split(' ');
    if (what === 'started')
      writes.push({ bootID, recovery: recovery === 'yes', atMs: Number(ms), exitCode: undefined });
    else writes[writes.length - 1] = { ...(writes.at(-1) as WriteLine), exitCode: Number(code) };
  }
  return writes;
}

/**
 * Unpacks an image, as `docker save` writes it, layer by layer. Images of the rig add files and take none away, so no
 * layer has to be read for what it removes.
 */
export function unpackImage(archive: string, to: string): void {
  mkdirSync(to, { recursive: true });
  const manifest = execFileSync('tar', ['-xOf', archive, 'manifest.json'], { encoding: 'utf8' });
  const [image] = JSON.parse(manifest) as { Layers: string[] }[];
  const unpack = 'tar -xOf "$1" "$2" | tar -C "$3" -xpf -';
  for (const layer of image?.Layers ?? []) {
    execFileSync('bash', ['-o', 'pipefail', '-c', unpack, 'unpack', archive, layer, to]);
  }
}

function linkTree(from: string, to: string): void {
  execFileSync('cp', ['-al', `${from}/.`, to]);
}

function readEnvironment(file: string): Record<string, string> {
  return existsSync(file) ? parseEnvironment(readFileSync(file, 'utf8')) : {};
}
