import { rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runDemo } from './demo.ts';
import { readDemoOptions } from './options.ts';

/** `main.ts [folder]`: what is in it is removed first. */
const folder = path.resolve(process.argv[2] ?? fileURLToPath(new URL('../../build/demo', import.meta.url)));
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (!stopping.signal.aborted) console.log('\nstopping…');
    stopping.abort(new Error(`stopped by ${signal}`));
  });
}

try {
  const options = readDemoOptions(process.env);
  rmSync(folder, { recursive: true, force: true });
  process.exitCode = await runDemo(options, folder, stopping.signal);
} catch (error) {
  if (stopping.signal.aborted) process.exitCode = 130;
  else {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
