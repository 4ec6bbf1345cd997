/** The DaemonSet's program: one agent, set up by the environment of its container. */
import { setFlagsFromString } from 'node:v8';
import { runAgent, type AgentState } from './agent.ts';
import { serveHealth } from './health.ts';
import { settingsFrom, SettingsError } from './options.ts';

// V8 lets the space for young objects grow to dozens of MiB before it collects them: on every node of a cluster that
// costs more than the little work that it spares.
setFlagsFromString('--semi-space-growth-factor=1');

function write(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown> = {}): void {
  process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), level, msg: message, ...fields })}\n`);
}

async function main(): Promise<void> {
  // AGENT_VERSION is written into the bundle when it is built
  const { healthPort, ...settings } = settingsFrom({ ...process.env, AGENT_VERSION: process.env['AGENT_VERSION'] });
  const stopping = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stopping.abort());

  let state: AgentState | undefined;
  const health = healthPort === undefined ? undefined : await serveHealth(healthPort, () => state);
  const log = {
    info: (message: string, fields?: Record<string, unknown>) => write('info', message, fields),
    warn: (message: string, fields?: Record<string, unknown>) => write('warn', message, fields),
  };
  await runAgent({ ...settings, log, onState: (now) => (state = now) }, stopping.signal);
  health?.close();
  health?.closeAllConnections();
}

try {
  await main();
} catch (error) {
  const problems = error instanceof SettingsError ? error.problems : [String(error)];
  for (const problem of problems) write('error', `cannot start: ${problem}`);
  process.exitCode = 1;
}
