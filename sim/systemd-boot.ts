/**
 * Which slot a machine with trusted boot (UKI) starts: systemd-boot with automatic boot assessment, as kairos-agent
 * writes its entries. The name of an entry's file counts the tries that are left, and those that were used:
 * `active+3.conf`, then `active+2-1.conf`; a boot that succeeds takes both numbers off. Pure: names go in and come out.
 */
import { SLOTS, type Slot } from './grub.ts';

interface Entry {
  readonly slot: Slot;
  /** Undefined where it is not on trial. */
  readonly left: number | undefined;
  readonly done: number;
}

export interface LoaderPass {
  /** What was started; undefined when there is nothing to start. */
  readonly slot: Slot | undefined;
  /** The name under which it was chosen, as `LoaderEntrySelected` has it before version 257. */
  readonly selected: string;
  /** The names of all entries as the loader leaves them. */
  readonly entries: readonly string[];
}

/**
 * One way through the loader. Entries come in the order of their sort keys, those without a try left behind all others;
 * where none has one, the first is started all the same. What is started on trial has used one try.
 */
export function throughSystemdBoot(names: readonly string[], loadable: ReadonlySet<Slot>): LoaderPass {
  const entries = names.flatMap(parse).filter(({ slot }) => loadable.has(slot));
  const inOrder = SLOTS.flatMap((slot) => entries.filter((entry) => entry.slot === slot));
  const chosen = inOrder.find(({ left }) => left !== 0) ?? inOrder[0];
  if (chosen === undefined) return { slot: undefined, selected: '', entries: names };
  const selected = nameOf(chosen);
  const tried =
    chosen.left === undefined || chosen.left === 0
      ? chosen
      : { ...chosen, left: chosen.left - 1, done: chosen.done + 1 };
  return { slot: chosen.slot, selected, entries: names.map((name) => (name === selected ? nameOf(tried) : name)) };
}

/** Userspace was reached: `systemd-bless-boot` ends the trial of the entry that was started. */
export const blessed = (slot: Slot, names: readonly string[]): string[] =>
  names.map((name) => (parse(name)[0]?.slot === slot ? `${slot}.conf` : name));

function parse(name: string): Entry[] {
  const found = /^(active|passive|recovery)(?:\+(\d+)(?:-(\d+))?)?\.conf$/.exec(name);
  if (found === null) return [];
  const [, slot, left, done = '0'] = found;
  return [{ slot: slot as Slot, left: left === undefined ? undefined : Number(left), done: Number(done) }];
}

function nameOf({ slot, left, done }: Entry): string {
  if (left === undefined) return `${slot}.conf`;
  return done === 0 ? `${slot}+${left}.conf` : `${slot}+${left}-${done}.conf`;
}

/** `/proc/cmdline`: the same for all slots, as it is signed with them. */
export const UKI_COMMAND_LINE =
  'console=ttyS0 console=tty1 net.ifnames=1 rd.immucore.oemlabel=COS_OEM rd.immucore.oemtimeout=2 rd.immucore.uki selinux=0 panic=5 rd.shell=0 systemd.crash_reboot=yes';

const LOADER_VENDOR = '4a67b082-0a4c-41cf-b6c7-440b29bb8c4f';

/** The variables that the loader leaves in the firmware, as files of efivarfs by their paths below `/`. */
export function loaderVariables(selected: string): Record<string, Buffer> {
  const variables = { LoaderEntrySelected: selected, LoaderDevicePartUUID: '5D1C9F9E-0000-4000-8000-000000000001' };
  return Object.fromEntries(
    Object.entries(variables).map(([name, text]) => [
      `sys/firmware/efi/efivars/${name}-${LOADER_VENDOR}`,
      // four bytes of attributes, then UTF-16 with a closing NUL
      Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from(`${text}\0`, 'utf16le')]),
    ]),
  );
}
