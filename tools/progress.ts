import type { WriteStream } from 'node:tty';

export interface Progress {
  say(line: string): void;
  /** Runs `work`: a line with the elapsed seconds on a terminal, otherwise one line before and one after. */
  during<T>(label: string, work: () => Promise<T>): Promise<T>;
}

/** Progress on stderr, so that stdout stays fit for scripts. */
export function progressOn(stream: Pick<WriteStream, 'write' | 'isTTY'> = process.stderr): Progress {
  const say = (line: string): void => void stream.write(`${line}\n`);
  return {
    say,
    async during(label, work) {
      const startedMs = Date.now();
      const seconds = (): number => Math.round((Date.now() - startedMs) / 1000);
      const clear = stream.isTTY ? '\r\u001B[K' : '';
      if (!stream.isTTY) say(`${label} ...`);
      const show = (): void => void stream.write(`${clear}${label} ... ${seconds()} s`);
      if (stream.isTTY) show();
      const timer = stream.isTTY ? setInterval(show, 1000) : undefined;
      try {
        const result = await work();
        stream.write(`${clear}${label}: done in ${seconds()} s\n`);
        return result;
      } catch (error) {
        stream.write(`${clear}${label}: failed after ${seconds()} s\n`);
        throw error;
      } finally {
        clearInterval(timer);
      }
    },
  };
}
