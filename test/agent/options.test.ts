import { describe, expect, it } from '@jest/globals';
import { settingsFrom, SettingsError } from '../../agent/options.ts';

const pod = { NODE_NAME: 'worker-1', KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };

describe('the settings of the agent', () => {
  it('have defaults for all but the node and the API server', () => {
    expect(settingsFrom(pod)).toEqual({
      nodeName: 'worker-1',
      hostRoot: '/host',
      apiServer: {
        host: '10.96.0.1',
        port: 443,
        caFile: '/var/run/secrets/kairos.io/agent/ca.crt',
        tokenFile: '/var/run/secrets/kairos.io/agent/token',
      },
      reportIntervalMs: 3_600_000,
      checkIntervalMs: 30_000,
      pollIntervalMs: 10_000,
      version: 'unknown',
      healthPort: undefined,
    });
  });

  it.each([
    ['1h30m', 5_400_000],
    ['45s', 45_000],
    ['200ms', 200],
    ['24h', 86_400_000],
  ])('read the time %s', (text, ms) => {
    expect(settingsFrom({ ...pod, REPORT_INTERVAL: text }).reportIntervalMs).toBe(ms);
  });

  it.each([
    ['NODE_NAME', '../../secrets', 'is not the name of a Node'],
    ['NODE_NAME', 'a?b', 'is not the name of a Node'],
    ['HOST_ROOT', 'host', 'not an absolute path'],
    ['KUBERNETES_SERVICE_HOST', 'https://x', 'neither a host name nor an address'],
    ['KUBERNETES_SERVICE_PORT', 'tcp://10.0.0.1:443', 'is not a port'],
    ['HEALTH_PORT', '70000', 'is not a port'],
    ['POLL_INTERVAL', '10', 'write it like 10s'],
    ['POLL_INTERVAL', '1ms', 'write it like 10s'],
    ['REPORT_INTERVAL', '25h', 'write it like 10s'],
  ])('refuse %s=%s', (name, value, problem) => {
    expect(() => settingsFrom({ ...pod, [name]: value })).toThrow(problem);
  });

  it('name every problem at once', () => {
    let error: unknown;
    try {
      settingsFrom({ POLL_INTERVAL: 'often' });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SettingsError);
    expect((error as SettingsError).problems).toHaveLength(3);
  });
});
