/** Runs the agents of many simulated machines in one process, told by its parent which. */
import { runAgent } from '../agent/agent.ts';
import type { AgentSettings } from '../agent/options.ts';

type Order = { readonly start: AgentSettings } | { readonly stop: string };

const running = new Map<string, AbortController>();

function log(level: string, message: string, fields: Record<string, unknown> = {}): void {
  process.stdout.write(`${JSON.stringify({ level, msg: message, ...fields })}\n`);
}

function start({ healthPort: _none, ...settings }: AgentSettings): void {
  const { nodeName: node } = settings;
  running.get(node)?.abort();
  const ending = new AbortController();
  running.set(node, ending);
  const logger = {
    info: (message: string, fields?: Record<string, unknown>) => log('info', message, { node, ...fields }),
    warn: (message: string, fields?: Record<string, unknown>) => log('warn', message, { node, ...fields }),
  };
  runAgent({ ...settings, log: logger }, ending.signal).catch((error: unknown) =>
    log('error', 'agent ended', { node, error: String(error) }),
  );
}

process.on('message', (order: Order) => {
  if ('start' in order) {
    start(order.start);
    return;
  }
  running.get(order.stop)?.abort();
  running.delete(order.stop);
});
// The parent is gone: its machines are, too.
process.on('disconnect', () => process.exit());
