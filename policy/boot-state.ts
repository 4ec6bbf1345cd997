import type { BootState } from '../api/types.ts';

export interface BootEvidence {
  /** `/proc/cmdline`. */
  readonly cmdline?: string;
  /** Names in `/run/cos`, where immucore leaves a file for the kind of boot. */
  readonly sentinels?: readonly string[];
  /** The boot entry that systemd-boot chose, such as `active+2-1.conf`; only on machines with trusted boot (UKI). */
  readonly loaderEntry?: string;
  /** Whether systemd-boot named the partition that it came from, which it does on installed machines only. */
  readonly isInstalled?: boolean;
}

/**
 * The slot that the machine booted from. GRUB machines say it on the kernel command line, by the label of the root
 * and the name of the image file; immucore's files in /run/cos say the same. A UKI carries one fixed command line for
 * all slots, so that there only the sentinel and the loader's entry tell them apart.
 */
export function bootStateOf(evidence: BootEvidence): BootState {
  const cmdline = evidence.cmdline ?? '';
  // root and image file first: a user's own arguments on the same line may mention anything
  const root = cmdline.split(/\s+/).filter((word) => /^(root|cos-img\/filename|rd\.live\.squashimg)=/.test(word));
  const uki = isUki(evidence);
  // a system that runs in memory counts as the installed one, whatever medium it was started from
  if (/(^|\s)kairos\.ram([.=\s]|$)/.test(cmdline)) return 'active';
  const found: BootState[] = [
    ...(uki ? [] : [byCommandLine(root.join(' ')), byCommandLine(cmdline)]),
    bySentinel(new Set(evidence.sentinels)),
    byLoaderEntry(evidence.loaderEntry ?? ''),
    uki && evidence.isInstalled === false ? 'livecd' : 'unknown',
  ];
  return found.find((state) => state !== 'unknown') ?? 'unknown';
}

/** Whether the machine has trusted boot: one signed file holds kernel and system, and systemd-boot starts it. */
export function isUki({ cmdline = '', sentinels = [] }: BootEvidence): boolean {
  return /(^|\s)rd\.immucore\.uki\b/.test(cmdline) || sentinels.includes('uki_boot_mode');
}

/** The part of a report that tells of trusted boot: nothing on other machines, or where the loader says nothing. */
export function trustedBootOf(evidence: BootEvidence): { trustedBoot?: true; loaderEntry?: string } {
  if (!isUki(evidence)) return {};
  const entry = evidence.loaderEntry ?? '';
  return {
    trustedBoot: true,
    ...(/^[\x20-\x7e]{1,100}\.conf$/i.test(entry) && entry.length <= 100 ? { loaderEntry: entry } : {}),
  };
}

/**
 * Whether systemd-boot started this entry on trial: its name carries the tries that are left, as in `active+2-1.conf`,
 * from the upgrade that wrote it until a boot of it succeeds. From version 257 on the loader leaves them out of the name.
 */
export const isOnTrial = (loaderEntry: string | undefined): boolean =>
  loaderEntry !== undefined && /\+\d+(-\d+)?\.conf$/i.test(loaderEntry);

/** The order is that of kairos-sdk's boot detection: a recovery system is a live system too. */
function byCommandLine(cmdline: string): BootState {
  if (/\bkairos\.reset\b/.test(cmdline)) return 'recovery';
  if (/COS_ACTIVE|\bactive\.img\b/.test(cmdline)) return 'active';
  if (/COS_PASSIVE|\bpassive\.img\b/.test(cmdline)) return 'passive';
  if (/COS_RECOVERY|COS_SYSTEM|\brecovery-mode\b|\brecovery\.(img|squashfs)\b/.test(cmdline)) return 'recovery';
  if (/live:(CD)?LABEL|\bnetboot\b/.test(cmdline)) return 'livecd';
  return 'unknown';
}

function bySentinel(names: ReadonlySet<string>): BootState {
  if (names.has('recovery_mode') || names.has('autoreset_mode')) return 'recovery';
  if (names.has('passive_mode')) return 'passive';
  if (names.has('active_mode')) return 'active';
  if (names.has('live_mode')) return 'livecd';
  return 'unknown';
}

/** Told by its beginning: `active.conf`, `active+2-1.conf` with boot counters, `active_debug.conf` with more arguments. */
function byLoaderEntry(entry: string): BootState {
  if (!/\.conf$/i.test(entry)) return 'unknown';
  if (/^active/i.test(entry)) return 'active';
  if (/^passive/i.test(entry)) return 'passive';
  // the reset entry boots the recovery system
  if (/^(recovery|statereset)/i.test(entry)) return 'recovery';
  return 'unknown';
}
