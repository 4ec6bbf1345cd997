import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { AgentSettings } from '../agent/options.ts';
import { managedProcess, type ManagedProcess } from './processes.ts';
import { inBackground } from './retry.ts';
import { unwatch, watch } from './watchdog.ts';

/** What a container runtime does for agents. */
export interface AgentProcesses {
  /** Until `life` is over; an agent that ends before is started again after a back-off. */
  run(settings: AgentSettings, life: AbortSignal): void;
  /** SIGKILL; the next start comes after `downMs`. False when none runs on this node. */
  kill(node: string, downMs: number): boolean;
  stop(): Promise<void>;
}

/** A tenth of kubelet's: time is short in a simulation. */
const BACKOFF_MS = 1000;
const HOST_PROGRAM = fileURLToPath(new URL('agent-host.ts', import.meta.url));
const AGENT_PROGRAM = fileURLToPath(new URL('../agent/main.ts', import.meta.url));

/** Each agent in a process of its own, as the DaemonSet's image starts it. */
export function agentProcesses(logs: string, onError: (error: unknown) => void): AgentProcesses {
  const running = new Map<string, ManagedProcess>();
  const backoff = new Map<string, number>();

  async function keepRunning(settings: AgentSettings, life: AbortSignal): Promise<void> {
    const { nodeName } = settings;
    const agent = agentProcess(settings, logs);
    life.addEventListener('abort', () => void agent.kill('SIGKILL'), { once: true });
    while (!life.aborted) {
      await agent.start();
      running.set(nodeName, agent);
      await agent.ended();
      if (running.get(nodeName) === agent) running.delete(nodeName);
      const waitMs = backoff.get(nodeName) ?? BACKOFF_MS;
      backoff.delete(nodeName);
      await sleep(waitMs, undefined, { signal: life });
    }
  }

  return {
    run: (settings, life) => inBackground(keepRunning(settings, life), life, onError),
    kill(node, downMs) {
      const agent = running.get(node);
      if (agent?.running !== true) return false;
      backoff.set(node, downMs);
      void agent.kill('SIGKILL');
      return true;
    },
    stop: () => Promise.resolve(),
  };
}

function agentProcess(settings: AgentSettings, logs: string): ManagedProcess {
  const { apiServer } = settings;
  return managedProcess({
    name: `agent-${settings.nodeName}`,
    command: process.execPath,
    args: ['--no-warnings', AGENT_PROGRAM],
    env: {
      NODE_NAME: settings.nodeName,
      HOST_ROOT: settings.hostRoot,
      KUBERNETES_SERVICE_HOST: apiServer.host,
      KUBERNETES_SERVICE_PORT: String(apiServer.port),
      TOKEN_FILE: apiServer.tokenFile,
      CA_FILE: apiServer.caFile,
      REPORT_INTERVAL: `${settings.reportIntervalMs}ms`,
      POLL_INTERVAL: `${settings.pollIntervalMs}ms`,
      AGENT_VERSION: settings.version,
    },
    logFile: join(logs, `agent-${settings.nodeName}.log`),
  });
}

/** One process for the agents of all machines: for simulations with hundreds of them. They are killed together. */
export function sharedAgentProcess(logs: string): AgentProcesses {
  mkdirSync(logs, { recursive: true });
  const wanted = new Map<string, AgentSettings>();
  let child: ChildProcess | undefined;
  let ended = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;
  let waitMs = BACKOFF_MS;
  let stopped = false;

  function start(): void {
    const log = openSync(join(logs, 'agent-host.log'), 'a');
    const started = fork(HOST_PROGRAM, [], {
      detached: true,
      execArgv: ['--no-warnings'],
      stdio: ['ignore', log, log, 'ipc'],
    });
    closeSync(log);
    child = started;
    const { pid } = started;
    if (pid !== undefined) watch(pid);
    ended = new Promise<void>((resolve) => started.once('exit', () => resolve()));
    void ended.then(() => {
      if (pid !== undefined) unwatch(pid);
      child = undefined;
      if (!stopped) timer = setTimeout(start, waitMs);
      waitMs = BACKOFF_MS;
    });
    for (const settings of wanted.values()) started.send({ start: settings });
  }

  const tell = (message: object): void => {
    if (child?.connected === true) child.send(message);
  };
  start();
  return {
    run(settings, life) {
      if (life.aborted) return;
      const { nodeName } = settings;
      wanted.set(nodeName, settings);
      tell({ start: settings });
      const leave = (): void => {
        if (wanted.get(nodeName) !== settings) return;
        wanted.delete(nodeName);
        tell({ stop: nodeName });
      };
      life.addEventListener('abort', leave, { once: true });
    },
    kill(node, downMs) {
      if (child === undefined || !wanted.has(node)) return false;
      waitMs = downMs;
      child.kill('SIGKILL');
      return true;
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      child?.kill('SIGKILL');
      await ended;
    },
  };
}
