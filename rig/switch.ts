import { spawn } from 'node:child_process';
import { existsSync, closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../sim/ports.ts';
import { unwatch, watch } from '../sim/watchdog.ts';
import { SWITCH_ADDRESS } from './machine-files.ts';
import { startRelay } from './relay.ts';

/** The network between the machines. Nothing of the outer machine's network is touched or reached. */
export interface Switch {
  /** A process in its network namespace. */
  readonly pid: number;
  /** Port of 127.0.0.1 that leads to the API server. */
  readonly apiPort: number;
  /** Ends the connections to the API server from outside: those to a machine without power would linger for minutes. */
  cutConnections(): void;
  stop(): void;
}

const RIG = fileURLToPath(new URL('.', import.meta.url));
const UP_WITHIN_MS = 10_000;

/**
 * Starts the switch in a cgroup of its own, with a way from a port of 127.0.0.1 to `api`. Throws with its log's name when
 * it does not come up.
 */
export async function startSwitch(options: {
  folder: string;
  group: string;
  api: { host: string; port: number };
}): Promise<Switch> {
  const { folder, group, api } = options;
  const socket = path.join(folder, 'api.sock');
  const logFile = path.join(folder, 'switch.log');
  const log = openSync(logFile, 'a');
  const relay = [process.execPath, '--no-warnings', path.join(RIG, 'relay.ts'), socket, api.host, String(api.port)];
  const child = spawn(
    path.join(RIG, 'machine', 'launch.sh'),
    [group, 'unshare', '-n', path.join(RIG, 'machine', 'switch.sh'), SWITCH_ADDRESS, ...relay],
    { detached: true, stdio: ['ignore', log, log] },
  );
  closeSync(log);
  const { pid } = child;
  if (pid === undefined) throw new Error(`the switch cannot be started: see ${logFile}`);
  watch(pid);
  child.once('exit', () => unwatch(pid));
  const giveUpAtMs = Date.now() + UP_WITHIN_MS;
  while (!existsSync(socket)) {
    if (child.exitCode !== null || Date.now() > giveUpAtMs)
      throw new Error(`the switch does not come up: see ${logFile}`);
    await sleep(50);
  }
  const apiPort = await freePort();
  const relayed = await startRelay({ host: '127.0.0.1', port: apiPort }, { path: socket });
  return {
    pid,
    apiPort,
    cutConnections: () => relayed.cut(),
    stop() {
      relayed.close();
      child.kill('SIGKILL');
    },
  };
}
