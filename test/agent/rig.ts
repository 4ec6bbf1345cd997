import { setTimeout as sleep } from 'node:timers/promises';
import { runAgent, type AgentOptions, type AgentState, type AgentTime } from '../../agent/agent.ts';
import { FakeApiServer } from './fake-api-server.ts';
import { eventually, HADRON, makeMachine } from './machine.ts';

export const FIRST_BOOT = '3f2b6c1e-0d54-4a6f-9f0e-1c2d3e4f5a6b';
export const SECOND_BOOT = { 'proc/sys/kernel/random/boot_id': 'second-boot\n' };

/** A back-off of seconds takes as long as a look: what is waited for is in the log. */
const HASTY: AgentTime = {
  nowMs: () => performance.now(),
  sleep: (ms, signal) => sleep(Math.min(ms, 20), undefined, { signal }).catch(() => undefined),
};

/** Agents on one machine with one API server of its own. */
export class AgentRig {
  readonly api = new FakeApiServer();
  readonly machine = makeMachine(HADRON);
  readonly stopping = new AbortController();
  readonly running: Promise<unknown>[] = [];
  readonly states: AgentState[] = [];
  readonly warnings: Record<string, unknown>[] = [];
  readonly infos: string[] = [];

  async open(): Promise<this> {
    await this.api.start();
    return this;
  }

  async close(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.running);
    await this.api.remove();
    this.machine.remove();
  }

  start(changes: Partial<AgentOptions> = {}): void {
    const log = {
      info: (message: string) => void this.infos.push(message),
      warn: (message: string, fields: Record<string, unknown> = {}) => void this.warnings.push({ message, ...fields }),
    };
    const options: AgentOptions = {
      nodeName: 'node-1',
      hostRoot: this.machine.root,
      apiServer: this.api.settings,
      reportIntervalMs: 3_600_000,
      pollIntervalMs: 20,
      log,
      version: '0.1.0',
      time: HASTY,
      onState: (state) => this.states.push(state),
      ...changes,
    };
    this.running.push(runAgent(options, this.stopping.signal));
  }

  status(name = 'node-1'): Record<string, string> | undefined {
    return this.api.nodes.get(name) as Record<string, string> | undefined;
  }

  reported(bootID: string, name?: string): Promise<boolean> {
    return eventually(() => this.status(name)?.['bootID'] === bootID);
  }
}
