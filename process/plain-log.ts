import { pino, type Logger } from 'pino';

/**
 * A log for programs that a person starts and waits for: one sentence a line, on stdout, instead of JSON.
 * Fields follow the sentence, as in `cancelled: rollout rollout/kairos-1f0c9a2b/kairos-system/hadron-v4.0.3`.
 */
export function plainLog(
  level: string,
  write: (text: string) => unknown = (text) => process.stdout.write(text),
): Logger {
  const destination = {
    write: (line: string) => void write(`${sentence(JSON.parse(line) as Record<string, unknown>)}\n`),
  };
  return pino({ level, base: null, timestamp: false }, destination);
}

function sentence({ msg, ...fields }: Record<string, unknown>): string {
  const values = Object.entries(fields)
    .filter(([key]) => key !== 'level')
    .map(([key, value]) => {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      return key === 'reason' || key === 'error' ? text : `${key} ${text}`;
    });
  return values.length === 0 ? String(msg) : `${String(msg)}: ${values.join(', ')}`;
}
