import type { KairosNodeAgentStatus } from '../api/types.ts';
import { bootStateOf, trustedBootOf } from './boot-state.ts';
import { pickReleaseFields, versionOf } from './release.ts';

/** What became of the pod that was to read a node: what it read, or what was seen of it instead. */
export interface PodReading {
  report?: KairosNodeAgentStatus;
  /** Continues the sentence "the pod …". */
  seen: string;
}

/** What each line of the pod's words begins with; the rest of the line is the text itself. */
export const EVIDENCE_LINES = [
  'boot-id',
  'cmdline',
  'kairos-release',
  'os-release',
  'run-cos',
  'loader-entry',
  'loader-device',
  'stamp-boot',
] as const;

type Kind = (typeof EVIDENCE_LINES)[number];

/**
 * The report that an agent would have made, from the words of the pod that reads a node in its place. Undefined where
 * they name no boot, or no Kairos release: such words prove nothing. Lines that are not known are left out.
 */
export function parseNodeEvidence(words: string): KairosNodeAgentStatus | undefined {
  const lines = new Map<Kind, string[]>();
  for (const line of words.split('\n')) {
    const kind = EVIDENCE_LINES.find((known) => line.startsWith(`${known} `));
    if (kind !== undefined) lines.set(kind, [...(lines.get(kind) ?? []), line.slice(kind.length + 1)]);
  }
  const text = (kind: Kind) => lines.get(kind)?.join('\n').trim() ?? '';
  const bootID = /^[\w-]{1,64}$/.exec(text('boot-id'))?.[0];
  const release = pickReleaseFields(text('kairos-release'), text('os-release'));
  if (bootID === undefined || release === undefined) return undefined;
  const observedVersion = versionOf(release);
  const sourceBootID = /^[\w-]{1,64}$/.exec(text('stamp-boot'))?.[0];
  const boot = {
    cmdline: text('cmdline'),
    sentinels: text('run-cos').split(/\s+/),
    loaderEntry: text('loader-entry'),
    ...(lines.has('loader-device') ? { isInstalled: text('loader-device') === 'yes' } : {}),
  };
  return {
    bootID,
    release,
    ...(observedVersion === undefined ? {} : { observedVersion }),
    bootState: bootStateOf(boot),
    ...trustedBootOf(boot),
    ...stampOf(lines.has('stamp-boot'), sourceBootID),
  };
}

/** A stamp that does not say which boot wrote it is a stamp nevertheless, of an upgrade that is not ours. */
const stampOf = (isThere: boolean, sourceBootID: string | undefined): Pick<KairosNodeAgentStatus, 'stamp'> =>
  isThere ? { stamp: sourceBootID === undefined ? {} : { sourceBootID } } : {};
