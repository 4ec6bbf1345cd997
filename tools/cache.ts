import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** Where what is expensive to make is kept between runs, as the XDG base directory specification has it. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const xdg = env['XDG_CACHE_HOME'];
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(env['HOME'] ?? homedir(), '.cache');
  return join(base, 'kairos-operator');
}
