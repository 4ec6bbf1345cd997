/**
 * What a machine says about the Kairos system that it runs. One parser for all sides: the agent on the node, and the
 * operator on the files read out of an image. No imports, so that the agent's bundle stays one small file.
 */

const MAX_TEXT = 64 * 1024;
const MAX_PARSED_KEYS = 1024;
const MAX_FIELDS = 64;
const MAX_VALUE = 1024;
/** Longest version that KairosNode.status.observedVersion holds. */
const MAX_VERSION = 200;

/** Kept first when a file holds more fields than a status may carry. */
const NEEDED_FIELDS = [
  'KAIROS_RELEASE',
  'KAIROS_VERSION',
  'KAIROS_SOFTWARE_VERSION',
  'KAIROS_SOFTWARE_VERSION_PREFIX',
  'KAIROS_ARCH',
  'KAIROS_FAMILY',
  'KAIROS_FIPS',
  'KAIROS_FLAVOR',
  'KAIROS_MODEL',
  'KAIROS_TARGETARCH',
  'KAIROS_TRUSTED_BOOT',
  'KAIROS_VARIANT',
  'ID',
  'VERSION_ID',
  'PRETTY_NAME',
] as const;

const OS_RELEASE_FIELDS = ['ID', 'VERSION_ID', 'PRETTY_NAME'] as const;

export interface PickedRelease {
  /** `undefined` when the machine does not run Kairos. */
  readonly fields: Record<string, string> | undefined;
  /** What was left out or cut, a sentence each. */
  readonly left: readonly string[];
}

/**
 * The assignments of a shell-sourceable file (`/etc/kairos-release`, `/etc/os-release`): quotes and escapes as in
 * the shell, comments, several assignments on a line, the last one of a key wins. Nothing is expanded. A line that
 * is no assignment, or whose quote is not closed, is left out and costs no other line. Never throws; reads the first
 * 64 KiB and at most 1024 keys.
 */
export function parseReleaseFile(text: string): Record<string, string> {
  const found = new Map<string, string>();
  const whole = text.length <= MAX_TEXT;
  const lines = text.slice(text.startsWith('\uFEFF') ? 1 : 0, MAX_TEXT).split(/\r\n|\n|\r/);
  if (!whole) lines.pop(); // cut in the middle: half a value would be a wrong value
  for (const line of lines) {
    for (const [key, value] of assignmentsOf(line)) {
      if (found.size < MAX_PARSED_KEYS || found.has(key)) found.set(key, value);
    }
  }
  // fromEntries defines own properties, so that a key named __proto__ is only a key
  return Object.fromEntries(found);
}

/**
 * The fields worth reporting: `KAIROS_*` of kairos-release, or, where that file has none, of os-release (images from
 * before kairos-release appended them there), and `ID`, `VERSION_ID`, `PRETTY_NAME` of os-release. At most 64 fields
 * of at most 1024 characters without control characters; the ones that decide about an upgrade come first.
 * `undefined` when there is no `KAIROS_*` field: the machine does not run Kairos.
 */
export function pickReleaseFields(kairosRelease?: string, osRelease?: string): Record<string, string> | undefined {
  return pickRelease(kairosRelease, osRelease).fields;
}

/** Like {@link pickReleaseFields}, with a sentence in `left` for everything that the limits cost. */
export function pickRelease(kairosRelease?: string, osRelease?: string): PickedRelease {
  const os = parseReleaseFile(osRelease ?? '');
  const own = kairosFieldsOf(parseReleaseFile(kairosRelease ?? ''));
  // by file and not by field: an image built on an older one may carry that one's KAIROS_RELEASE in its os-release
  const kairos = own.length > 0 ? own : kairosFieldsOf(os);
  if (kairos.length === 0) return { fields: undefined, left: [] };
  const all = new Map(kairos);
  for (const key of OS_RELEASE_FIELDS) {
    const value = os[key];
    if (value) all.set(key, value);
  }
  const order = [...new Set([...NEEDED_FIELDS, ...all.keys()])].filter((key) => all.has(key));
  const kept = order.slice(0, MAX_FIELDS);
  const long = kept.filter((key) => (all.get(key) ?? '').length > MAX_VALUE);
  return {
    fields: Object.fromEntries(kept.map((key) => [key, tidy(all.get(key) ?? '')])),
    left: [
      ...(long.length > 0 ? [`what is beyond ${MAX_VALUE} characters of ${nameSome(long)} of the release files`] : []),
      ...(order.length > kept.length ? [`${nameSome(order.slice(MAX_FIELDS))} of the release files`] : []),
    ],
  };
}

function nameSome(keys: readonly string[]): string {
  const named = keys.slice(0, 3).join(', ');
  return keys.length > 3 ? `${named} and ${keys.length - 3} more` : named;
}

/**
 * The version that the fields describe, as the Kairos triple `v4.0.3-k3sv1.33.9+k3s1`, or `v4.0.3` where there is no
 * Kubernetes distribution. Old images already name the distribution in KAIROS_VERSION
 * (`v3.2.4-36-g24ca209-v1.32.0-k3s1`); builds that were never released may be a bare commit. `undefined` when the
 * fields name no version, or a distribution whose version cannot be read: without it, it would be another version. Image tags are free text and say nothing about the version, so none is looked at.
 */
export function versionOf(fields: Record<string, string>): string | undefined {
  const release = word(fields['KAIROS_RELEASE']);
  const version = word(fields['KAIROS_VERSION']);
  const named = release ?? version;
  if (named === undefined || isUnreadable(fields['KAIROS_SOFTWARE_VERSION'])) return undefined;
  const { base, distribution } = splitVersion(named);
  const legacy = version === undefined ? undefined : splitVersion(version);
  const software = softwareOf(fields) ?? distribution ?? (legacy?.base === base ? legacy.distribution : undefined);
  const triple = software === undefined ? base : `${base}-${software}`;
  return triple.length <= MAX_VERSION ? triple : undefined;
}

/**
 * Whether two versions are the same one, however the distribution is written: `+` and `-` before its build part
 * (tags and labels cannot hold a `+`), `k3sv1.33.2`, `k3s-v1.33.2` and `v1.33.2-k3s1`. An unknown version is the
 * same as nothing, itself included: two unknowns taken for equal would pass for an upgrade.
 */
export function sameVersion(a: string | undefined, b: string | undefined): boolean {
  return Boolean(a) && Boolean(b) && canonical(a ?? '') === canonical(b ?? '');
}

/**
 * Orders versions, the oldest first: by the numbers of the Kairos version, a pre-release before its release and a build
 * after it, then by the distribution of Kubernetes. Versions that are the same one are equal however they are written;
 * what is no version, such as a bare commit, is older than any; one that is not known comes last.
 */
export function compareVersions(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  if (sameVersion(a, b)) return 0;
  const [ofA, ofB] = [splitVersion(a), splitVersion(b)];
  return compareBases(ofA.base, ofB.base) || natural(ofA.distribution ?? '', ofB.distribution ?? '') || natural(a, b);
}

function compareBases(a: string, b: string): number {
  const [ofA, ofB] = [a, b].map((base) => {
    const [, numbers = '', rest = ''] = /^v?(\d+(?:\.\d+)*)?(.*)$/.exec(base) ?? [];
    return { numbers, stage: rest === '' ? 0 : /^[-.]?(alpha|beta|rc)/.test(rest) ? -1 : 1, rest };
  });
  if (ofA === undefined || ofB === undefined) return 0;
  return natural(ofA.numbers, ofB.numbers) || ofA.stage - ofB.stage || natural(ofA.rest, ofB.rest);
}

/** Numbers in a text as numbers; different texts are never equal. */
function natural(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true }) || (a < b ? -1 : Number(a > b));
}

function canonical(version: string): string {
  if (version.length > MAX_VERSION) return version;
  const { base, distribution } = splitVersion(version);
  return distribution === undefined ? base : `${base}-${distribution}`;
}

const NUMBER = String.raw`\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)\.?\d*)?`;
const BUILD = String.raw`[-+]([0-9A-Za-z][0-9A-Za-z.]*)`;
// only a known name may stand apart by a dash, else `v3.2.4-36-g24ca209-v1.32.0-k3s1` had the distribution g24ca209
const DISTRIBUTION = String.raw`(?:(k3s|k0s|rke2|kubeadm)-?|([a-z][a-z0-9]*?))?`;
const WITH_DISTRIBUTION = new RegExp(`^(.+?)-${DISTRIBUTION}v(${NUMBER})(?:${BUILD})?$`);
const SOFTWARE = new RegExp(`^${DISTRIBUTION}v?(${NUMBER})(?:${BUILD})?$`);

function splitVersion(version: string): { base: string; distribution?: string } {
  const match = WITH_DISTRIBUTION.exec(version);
  if (!match) return { base: version };
  const [, base = version, known, other, number = '', build] = match;
  return { base, distribution: writeDistribution(known ?? other, number, build) };
}

function softwareOf(fields: Record<string, string>): string | undefined {
  const software = word(fields['KAIROS_SOFTWARE_VERSION']);
  if (software === undefined) return undefined; // seen in old images: a prefix without a version
  const prefix = word(fields['KAIROS_SOFTWARE_VERSION_PREFIX']);
  const match = SOFTWARE.exec(software);
  if (!match) return `${prefix ?? ''}${software}`;
  const [, known, other, number = '', build] = match;
  return writeDistribution(prefix ?? known ?? other, number, build);
}

function writeDistribution(prefix: string | undefined, number: string, build: string | undefined): string {
  const name = prefix ?? /^(k3s|k0s|rke2)/.exec(build ?? '')?.[1] ?? '';
  return `${name}v${number}${build === undefined ? '' : `+${build}`}`;
}

/** A value that can be part of a version: one word, else nothing. */
function word(value: string | undefined): string | undefined {
  const trimmed = value?.trim();
  return trimmed && trimmed.length <= MAX_VERSION && /^[\w.+~:-]+$/.test(trimmed) ? trimmed : undefined;
}

function isUnreadable(value: string | undefined): boolean {
  return Boolean(value?.trim()) && word(value) === undefined;
}

function kairosFieldsOf(fields: Record<string, string>): [string, string][] {
  return Object.entries(fields).filter(([key, value]) => /^KAIROS_[A-Z0-9_]{1,56}$/.test(key) && value !== '');
}

/** Values end up in terminals: no control characters, no halves of a surrogate pair. */
function tidy(value: string): string {
  return value
    .slice(0, MAX_VALUE)
    .toWellFormed()
    .replaceAll(/\p{Cc}/gu, ' ');
}

function* assignmentsOf(line: string): Generator<[string, string]> {
  const assignment = /\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=/y;
  let at = 0;
  while (at < line.length) {
    assignment.lastIndex = at;
    const key = assignment.exec(line)?.[1];
    if (key === undefined) return;
    const value = readValue(line, assignment.lastIndex);
    if (value === undefined) return;
    yield [key, value.text];
    at = value.end;
  }
}

/** A shell word: bare, 'single' and "double" parts in a row. `undefined` when a quote is not closed. */
function readValue(line: string, start: number): { text: string; end: number } | undefined {
  let text = '';
  let at = start;
  while (at < line.length) {
    const rest = line.slice(at, at + 1);
    if (/\s/.test(rest)) break;
    const part = rest === "'" || rest === '"' ? readQuoted(line, at + 1, rest) : readBare(line, at);
    if (part === undefined) return undefined;
    text += part.text;
    at = part.end;
  }
  return { text, end: at };
}

function readQuoted(line: string, start: number, quote: string): { text: string; end: number } | undefined {
  let text = '';
  for (let at = start; at < line.length; at += 1) {
    const char = line.charAt(at);
    if (char === quote) return { text, end: at + 1 };
    const next = line.charAt(at + 1);
    if (quote === '"' && char === '\\' && next !== '' && '"\\$`'.includes(next)) {
      text += next;
      at += 1;
    } else {
      text += char;
    }
  }
  return undefined;
}

function readBare(line: string, start: number): { text: string; end: number } {
  let text = '';
  let at = start;
  while (at < line.length && !/[\s'"]/.test(line.charAt(at))) {
    if (line.charAt(at) === '\\') at += 1;
    text += line.charAt(at);
    at += 1;
  }
  return { text, end: at };
}
