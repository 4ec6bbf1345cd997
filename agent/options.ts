import type { AgentOptions } from './agent.ts';

export type AgentSettings = Omit<AgentOptions, 'log' | 'onState'> & {
  /** Port of the health endpoint; undefined: none. */
  readonly healthPort: number | undefined;
};

/** Everything that is wrong with the environment, a line each. Not retried: the pod's manifest has to change. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

const DAY_MS = 24 * 60 * 60 * 1000;
const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Reads the agent's settings from the environment of its container. Throws SettingsError naming every problem. */
export function settingsFrom(env: Environment): AgentSettings {
  const problems: string[] = [];
  const given = (name: string): string | undefined => env[name]?.trim() || undefined;
  const check = <T>(read: () => T, fallback: T): T => {
    try {
      return read();
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      return fallback;
    }
  };
  const settings: AgentSettings = {
    nodeName: check(() => nodeName(given('NODE_NAME')), ''),
    hostRoot: check(() => absolute('HOST_ROOT', given('HOST_ROOT') ?? '/host'), ''),
    apiServer: {
      host: check(() => serverHost(given('KUBERNETES_SERVICE_HOST')), ''),
      port: check(() => port('KUBERNETES_SERVICE_PORT', given('KUBERNETES_SERVICE_PORT') ?? '443'), 0),
      caFile: given('CA_FILE') ?? '/var/run/secrets/kairos.io/agent/ca.crt',
      tokenFile: given('TOKEN_FILE') ?? '/var/run/secrets/kairos.io/agent/token',
    },
    reportIntervalMs: check(() => durationMs('REPORT_INTERVAL', given('REPORT_INTERVAL') ?? '1h'), 0),
    checkIntervalMs: check(() => durationMs('CHECK_INTERVAL', given('CHECK_INTERVAL') ?? '30s'), 0),
    pollIntervalMs: check(() => durationMs('POLL_INTERVAL', given('POLL_INTERVAL') ?? '10s'), 0),
    version: given('AGENT_VERSION') ?? 'unknown',
    healthPort: check(() => {
      const text = given('HEALTH_PORT');
      return text === undefined ? undefined : port('HEALTH_PORT', text);
    }, undefined),
  };
  if (problems.length > 0) throw new SettingsError(problems);
  return settings;
}

function nodeName(text: string | undefined): string {
  if (text === undefined) {
    throw new Error('NODE_NAME is not set: set it from the field spec.nodeName of the pod');
  }
  // the name becomes part of a request's path
  if (text.length > 253 || !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(text)) {
    throw new Error(`NODE_NAME "${text.slice(0, 80)}" is not the name of a Node: set it from the field spec.nodeName`);
  }
  return text;
}

function absolute(option: string, text: string): string {
  if (!text.startsWith('/')) throw new Error(`${option} "${text}" is not an absolute path: write one such as /host`);
  return text;
}

function serverHost(text: string | undefined): string {
  if (text === undefined) {
    throw new Error('KUBERNETES_SERVICE_HOST is not set: run the agent in a pod, or name the host of the API server');
  }
  if (!/^[\w.:%-]+$/.test(text)) {
    throw new Error(`KUBERNETES_SERVICE_HOST "${text}" is neither a host name nor an address`);
  }
  return text;
}

function port(option: string, text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number < 1 || number > 65_535)
    throw new Error(`${option} "${text}" is not a port: write a number from 1 to 65535`);
  return number;
}

/** `10s`, `1h30m`, for tests also `200ms`. At least 100 ms; at most a day, after which a report would be stale. */
function durationMs(option: string, text: string): number {
  const parts = [...text.matchAll(/(\d{1,9})(ms|s|m|h)/g)];
  const total = parts.reduce((sum, [, number, unit = 's']) => sum + Number(number) * (UNIT_MS[unit] ?? 0), 0);
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === text;
  if (!isWhole || total < 100 || total > DAY_MS) {
    throw new Error(`${option} "${text}" is not a time from 100ms to 24h: write it like 10s or 1h30m`);
  }
  return total;
}
