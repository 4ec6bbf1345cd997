import { z } from 'zod';
import { readSettings, type Settings } from '../api/schemas/settings.ts';
import { parseDurationMs } from '../policy/duration.ts';
import type { HeldNodes } from '../policy/uninstall.ts';

/** Less than the five minutes that Helm waits for a hook: the reason must be said before Helm gives up. */
const TIMEOUT = '4m';
const TIMEOUT_WORDS = 'a duration such as 90s, 4m or 1h30m';

const schema = z.object({
  UNINSTALL_TIMEOUT: z
    .string()
    .regex(/^(?=.)([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$/, TIMEOUT_WORDS)
    .default(TIMEOUT)
    .transform(parseDurationMs)
    .refine((ms) => ms > 0, TIMEOUT_WORDS),
  UNINSTALL_HELD_NODES: z.enum(['refuse', 'give-back'], 'refuse or give-back').default('refuse'),
});

export interface UninstallSettings extends Settings {
  /** After this time what is not done is named, and the uninstall refused. */
  timeoutMs: number;
  heldNodes: HeldNodes;
}

/**
 * Reads the settings from an environment: those of the watcher, and its own.
 * @throws Error naming every wrong variable, its value and what it should be
 */
export function readUninstallSettings(env: Record<string, string | undefined>, processId: number): UninstallSettings {
  const settings = readSettings(env, processId);
  const parsed = schema.safeParse(Object.fromEntries(Object.entries(env).filter(([, value]) => value !== '')));
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(({ path, message }) => {
      const name = path.join('.');
      return `${name}=${(env[name] ?? '').slice(0, 100)}: ${message}`;
    });
    throw new Error(`wrong environment: ${wrong.join('; ')}`);
  }
  const { UNINSTALL_TIMEOUT: timeoutMs, UNINSTALL_HELD_NODES: heldNodes } = parsed.data;
  return { ...settings, timeoutMs, heldNodes };
}
