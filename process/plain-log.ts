import { pino, type Logger } from 'pino';

/**
 * A log for programs that a person starts and waits for: one sentence a line, on stdout, instead of JSON.
 * Fields follow the sentence, as in `cancelling: rollout/kairos-1f0c9a2b/kairos-system/hadron-v4.0.3`.
 */
export function plainLog(level: string): Logger {
  return pino(
    { level, base: null, timestamp: false },
    {
      write: (line: string) => void process.stdout.write(`${sentence(JSON.parse(line) as Record<string, unknown>)}\n`),
    },
  );
}

function sentence({ msg, level: _, ...fields }: Record<string, unknown>): string {
  const values = Object.entries(fields).map(([key, value]) =>
    key === 'reason' || key === 'error'
      ? String(value)
      : `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return values.length === 0 ? String(msg) : `${String(msg)}: ${values.join(', ')}`;
}
