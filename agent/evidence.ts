import type { KairosNodeAgentStatus } from '../api/types.ts';
import { bootStateOf, isUki, trustedBootOf, type BootEvidence } from '../policy/boot-state.ts';
import { pickRelease, versionOf } from '../policy/release.ts';
import { codeOf, listHostDirectory, readHostFile } from './host-files.ts';
import { parseStamp } from './stamp.ts';

/** What a report says, without the time and the agent's own version: two equal ones need no second report. */
export type Evidence = Pick<
  KairosNodeAgentStatus,
  'observedVersion' | 'release' | 'bootID' | 'bootState' | 'trustedBoot' | 'loaderEntry' | 'stamp'
>;

const EFI_VARIABLES = 'sys/firmware/efi/efivars';
/** The vendor UUID of the Boot Loader Interface, which systemd-boot's variables carry. */
const LOADER_VENDOR = '4a67b082-0a4c-41cf-b6c7-440b29bb8c4f';
const UNREADABLE = 'unreadable';

/**
 * Reads what the machine under `hostRoot` runs. `undefined` when it does not run Kairos. What is there and could not be
 * told whole goes into `left`, a sentence each: a report goes through without it. Throws when that cannot be told: nothing mounted at `hostRoot`, or a
 * release file that is there and cannot be read. The caller tries again later.
 */
export async function readEvidence(hostRoot: string, left: string[] = []): Promise<Evidence | undefined> {
  const machine = new Machine(hostRoot, left);
  const kairosRelease = await machine.textOrThrow('etc/kairos-release');
  const isTold = pickRelease(kairosRelease).fields !== undefined;
  const osRelease = await (isTold ? machine.text('etc/os-release') : machine.textOrThrow('etc/os-release'));
  const { fields: release, left: cut } = pickRelease(kairosRelease, osRelease);
  left.push(...cut);
  if (release === undefined) {
    await assertMounted(hostRoot);
    return undefined;
  }
  const bootID = await machine.text('proc/sys/kernel/random/boot_id');
  const boot = await readBoot(machine);
  const stamp = await readStamp(machine);
  const observedVersion = versionOf(release);
  const validBootID = /^[\w-]{1,64}$/.exec(bootID?.trim() ?? '')?.[0];
  return {
    ...(observedVersion === undefined ? {} : { observedVersion }),
    release,
    ...(validBootID === undefined ? {} : { bootID: validBootID }),
    ...boot,
    ...(stamp === undefined ? {} : { stamp }),
  };
}

/** The files of one machine, and what of them was left out. */
class Machine {
  readonly root: string;
  readonly left: string[];

  constructor(root: string, left: string[]) {
    this.root = root;
    this.left = left;
  }

  /** The text of a file; bytes that are no UTF-8 become U+FFFD. `undefined` when there is none. */
  async textOrThrow(path: string): Promise<string | undefined> {
    try {
      return (await this.#read(path))?.toString('utf8');
    } catch (cause) {
      throw new Error(`cannot read /${path} of the machine: it must be readable for everybody (chmod a+r)`, { cause });
    }
  }

  /** Like {@link textOrThrow}, but what the machine forbids to read is empty, and said. */
  async text(path: string): Promise<string | undefined> {
    try {
      return (await this.#read(path))?.toString('utf8');
    } catch (error) {
      // a passing fault is worth another attempt: without the stamp a report would say something else
      if (!['EACCES', 'EPERM'].includes(codeOf(error))) throw error;
      this.left.push(`/${path}: it must be readable for everybody (chmod a+r)`);
      return '';
    }
  }

  /** A variable of systemd-boot. `undefined` when there is none; what the firmware refuses is said. */
  async variable(name: string): Promise<string | undefined> {
    const path = `${EFI_VARIABLES}/${name}-${LOADER_VENDOR}`;
    try {
      const bytes = await this.#read(path);
      return bytes && efiText(bytes);
    } catch (error) {
      this.left.push(`/${path} cannot be read: ${codeOf(error)}`);
      return UNREADABLE;
    }
  }

  async #read(path: string): Promise<Buffer | undefined> {
    const file = await readHostFile(this.root, path);
    if (file?.flaw !== undefined) this.left.push(`/${path} ${file.flaw}`);
    return file?.bytes;
  }
}

async function readBoot(machine: Machine): Promise<Pick<Evidence, 'bootState' | 'trustedBoot' | 'loaderEntry'>> {
  const cmdline = await machine.text('proc/cmdline');
  // on some machines only, and a machine that hides it still has a report to make
  const sentinels = await listHostDirectory(machine.root, 'run/cos').catch(() => undefined);
  const seen = {
    ...(cmdline === undefined ? {} : { cmdline }),
    ...(sentinels === undefined ? {} : { sentinels }),
  };
  // the firmware is asked where nothing else tells: on some machines each question stops all processors for a while
  const asksLoader = !cmdline || isUki(seen);
  const evidence = { ...seen, ...(asksLoader ? await readLoader(machine) : {}) };
  return { bootState: bootStateOf(evidence), ...trustedBootOf(evidence) };
}

async function readLoader(machine: Machine): Promise<Pick<BootEvidence, 'loaderEntry' | 'isInstalled'>> {
  const variables = await listHostDirectory(machine.root, EFI_VARIABLES).catch(() => undefined);
  if (variables === undefined || variables.length === 0) return {};
  const entry = await machine.variable('LoaderEntrySelected');
  const device = await machine.variable('LoaderDevicePartUUID');
  return {
    ...(entry ? { loaderEntry: entry } : {}),
    ...(device === UNREADABLE ? {} : { isInstalled: Boolean(device) }),
  };
}

/** A variable of efivarfs: four bytes of attributes, then UTF-16 with a closing NUL. */
function efiText(variable: Buffer): string {
  return variable.subarray(4).toString('utf16le').replace(/\0.*$/s, '');
}

async function readStamp(machine: Machine): Promise<Evidence['stamp']> {
  const text = await machine.text('etc/kairos-operator/target');
  return text === undefined ? undefined : parseStamp(text, machine.left);
}

/** An empty HOST_ROOT looks like a machine without Kairos, and the agent would be silent for ever. */
async function assertMounted(hostRoot: string): Promise<void> {
  if ((await listHostDirectory(hostRoot, 'etc')) !== undefined) return;
  throw new Error(
    `no etc directory under HOST_ROOT ${hostRoot}: mount the machine's /etc and /usr/lib there, read-only`,
  );
}
