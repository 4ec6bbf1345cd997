import type { KairosNodeAgentStatus } from '../api/types.ts';
import { pickReleaseFields, versionOf } from '../policy/release.ts';
import { bootStateOf } from './boot-state.ts';
import { listHostDirectory, readHostFile, readHostText } from './host-files.ts';

/** What a report says, without the time and the agent's own version: two equal ones need no second report. */
export type Evidence = Pick<KairosNodeAgentStatus, 'observedVersion' | 'release' | 'bootID' | 'bootState' | 'stamp'>;

/** systemd-boot's record of the entry it started, under the vendor UUID of the Boot Loader Interface. */
const LOADER_ENTRY = 'sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f';

/**
 * Reads what the machine under `hostRoot` runs. `undefined` when it does not run Kairos. Throws when that cannot be
 * told: nothing mounted at `hostRoot`, or a file that is there and cannot be read. The caller tries again later.
 */
export async function readEvidence(hostRoot: string): Promise<Evidence | undefined> {
  const [kairosRelease, osRelease] = await Promise.all([
    readHostText(hostRoot, 'etc/kairos-release'),
    readHostText(hostRoot, 'etc/os-release'),
  ]);
  const release = pickReleaseFields(kairosRelease, osRelease);
  if (release === undefined) {
    await assertMounted(hostRoot);
    return undefined;
  }
  const [bootID, bootState, stamp] = await Promise.all([
    readHostText(hostRoot, 'proc/sys/kernel/random/boot_id'),
    readBootState(hostRoot),
    readHostText(hostRoot, 'etc/kairos-operator/target'),
  ]);
  const observedVersion = versionOf(release);
  const boot = /^[\w-]{1,64}$/.exec(bootID?.trim() ?? '')?.[0];
  const image = parseStamp(stamp);
  return {
    ...(observedVersion === undefined ? {} : { observedVersion }),
    release,
    ...(boot === undefined ? {} : { bootID: boot }),
    bootState,
    ...(image === undefined ? {} : { stamp: image }),
  };
}

async function readBootState(hostRoot: string) {
  const cmdline = await readHostText(hostRoot, 'proc/cmdline');
  // both exist on some machines only, and a machine that hides them still has a report to make
  const sentinels = await listHostDirectory(hostRoot, 'run/cos').catch(() => undefined);
  const variable = await readHostFile(hostRoot, LOADER_ENTRY).catch(() => undefined);
  return bootStateOf({
    ...(cmdline === undefined ? {} : { cmdline }),
    ...(sentinels === undefined ? {} : { sentinels }),
    ...(variable === undefined ? {} : { loaderEntry: efiText(variable) }),
  });
}

/** A variable of efivarfs: four bytes of attributes, then UTF-16 with a closing NUL. */
function efiText(variable: Buffer): string {
  return variable.subarray(4).toString('utf16le').replace(/\0.*$/s, '');
}

const STAMP_LIMITS = { digest: 300, image: 1000, rollout: 1000, sourceBootID: 64 } as const;

/**
 * The stamp that the upgrade baked into the running image: one JSON object. Fields that the API server would refuse
 * are left out, since a report with them would never be accepted. `undefined` where there is none to read.
 */
function parseStamp(text: string | undefined): Evidence['stamp'] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined;
  const given = parsed as Record<string, unknown>;
  const stamp: Record<string, string> = {};
  for (const [key, limit] of Object.entries(STAMP_LIMITS)) {
    const value = given[key];
    if (typeof value === 'string' && value !== '' && value.length <= limit) stamp[key] = value;
  }
  return Object.keys(stamp).length === 0 ? undefined : stamp;
}

/** An empty HOST_ROOT looks like a machine without Kairos, and the agent would be silent for ever. */
async function assertMounted(hostRoot: string): Promise<void> {
  if ((await listHostDirectory(hostRoot, 'etc')) !== undefined) return;
  throw new Error(
    `no etc directory under HOST_ROOT ${hostRoot}: mount the machine's /etc and /usr/lib there, read-only`,
  );
}
