import { readSettings, type Settings } from '../api/schemas/settings.ts';
import { parseDurationMs } from '../policy/duration.ts';

const TIMEOUT = '1m';

export interface CheckSettings extends Settings {
  /** How long all parts together have to answer. */
  timeoutMs: number;
}

/**
 * Reads the settings from an environment: those of the watcher, and its own.
 * @throws Error naming every wrong variable, its value and what it should be
 */
export function readCheckSettings(env: Record<string, string | undefined>, processId: number): CheckSettings {
  const settings = readSettings(env, processId);
  const text = env['CHECK_TIMEOUT'] || TIMEOUT;
  try {
    const timeoutMs = parseDurationMs(text);
    if (timeoutMs > 0) return { ...settings, timeoutMs };
  } catch {
    // Said below.
  }
  throw new Error(`wrong environment: CHECK_TIMEOUT=${text.slice(0, 100)}: a duration such as 90s or 5m`);
}
