import { describe, expect, it } from '@jest/globals';
import { serverFor } from '../../policy/prometheus-server.ts';

const SERVERS = [
  'https://prometheus.monitoring:9090',
  'https://thanos.example.com/tenants',
  'https://thanos.example.com/tenants/a/',
].map((url) => ({ url }));

describe('the credentials of a Prometheus', () => {
  it.each([
    ['its own address', 'https://prometheus.monitoring:9090', 0],
    ['that with a slash', 'https://prometheus.monitoring:9090/', 0],
    ['a path of it', 'https://prometheus.monitoring:9090/base', 0],
    ['another spelling of it', 'https://PROMETHEUS.monitoring:9090', 0],
    ['a path below its own', 'https://thanos.example.com/tenants/b', 1],
    ['the path that says most', 'https://thanos.example.com/tenants/a/x', 2],
  ])('are sent to %s: %s', (_, address, index) => {
    expect(serverFor(address, SERVERS)).toBe(SERVERS[index]);
  });

  it.each([
    ['another port', 'https://prometheus.monitoring:9091'],
    ['no TLS', 'http://prometheus.monitoring:9090'],
    ['a name that begins alike', 'https://prometheus.monitoring.evil.example:9090'],
    ['a path that begins alike', 'https://thanos.example.com/tenants-of-mine'],
    ['a path that only passes through its own', 'https://thanos.example.com/tenants/../other'],
    ['no path', 'https://thanos.example.com'],
  ])('are not sent to %s: %s', (_, address) => {
    expect(serverFor(address, SERVERS)).toBeUndefined();
  });
});
