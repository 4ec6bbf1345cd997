const PART = /([0-9]+)(h|m|s)/g;
const UNIT_MS = { h: 3_600_000, m: 60_000, s: 1_000 } as const;

/**
 * Milliseconds of a duration such as `90s`, `15m` or `1h30m`.
 * @throws RangeError naming the text, when it is not such a duration. The CRD refuses it before.
 */
export function parseDurationMs(text: string): number {
  if (!/^([0-9]+h)?([0-9]+m)?([0-9]+s)?$/.test(text) || text === '') {
    throw new RangeError(`duration "${text}": write hours, minutes and seconds such as 90s, 15m or 1h30m`);
  }
  return [...text.matchAll(PART)].reduce((sum, [, n, unit]) => sum + Number(n) * UNIT_MS[unit as 'h' | 'm' | 's'], 0);
}

/** A length of time as people read it: `42s`, `3m05s`, `1h02m`. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const pad = (n: number) => String(n).padStart(2, '0');
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${pad(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${pad(Math.floor((seconds % 3600) / 60))}m`;
}
