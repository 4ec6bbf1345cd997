import { describe, expect, it } from '@jest/globals';
import { readSettings } from '../../api/schemas/settings.ts';

describe('the settings', () => {
  it('have defaults for everything', () => {
    expect(readSettings({}, 42)).toEqual({
      clusterName: 'kairos',
      namespace: 'kairos-system',
      namespaces: ['kairos-system'],
      identity: 'process-42',
      logLevel: 'info',
    });
  });

  it('are taken from the environment', () => {
    const env = {
      KAIROS_CLUSTER_NAME: 'edge-7.berlin',
      KAIROS_NAMESPACE: 'operators',
      KAIROS_NAMESPACES: 'fleet, shops',
      POD_NAME: 'watcher-0',
      LOG_LEVEL: 'debug',
      HEALTH_PORT: '8081',
      HOME: '/root',
    };
    expect(readSettings(env, 42)).toEqual({
      clusterName: 'edge-7.berlin',
      namespace: 'operators',
      namespaces: ['operators', 'fleet', 'shops'],
      identity: 'watcher-0',
      logLevel: 'debug',
      healthPort: 8081,
    });
  });

  it.each([
    ['an empty list', '', ['kairos-system']],
    ['blanks and empty places', ' a ,, b,', ['kairos-system', 'a', 'b']],
    ['a namespace twice', 'a,a', ['kairos-system', 'a']],
    ['its own namespace', 'kairos-system,a', ['kairos-system', 'a']],
  ])('take the namespaces from %s', (_, text, namespaces) => {
    expect(readSettings({ KAIROS_NAMESPACES: text }, 1).namespaces).toEqual(namespaces);
  });

  it('treat an empty variable as one that is not there', () => {
    const env = { KAIROS_CLUSTER_NAME: '', KAIROS_NAMESPACE: '', POD_NAME: '', LOG_LEVEL: '', HEALTH_PORT: '' };
    expect(readSettings(env, 42)).toEqual(readSettings({}, 42));
  });

  it.each([
    ['KAIROS_CLUSTER_NAME', 'Edge 7', /lower-case letters/],
    ['KAIROS_CLUSTER_NAME', '-edge', /lower-case letters/],
    ['KAIROS_CLUSTER_NAME', 'e'.repeat(64), /at most 63/],
    ['KAIROS_NAMESPACE', 'Kairos', /lower-case letters, digits and -, at most 63/],
    ['KAIROS_NAMESPACES', 'fleet,shop front', /names of namespaces between commas/],
    ['LOG_LEVEL', 'loud', /one of trace, debug, info, warn, error, fatal/],
    ['HEALTH_PORT', 'http', /a port from 1 to 65535/],
    ['HEALTH_PORT', '0', /a port from 1 to 65535/],
    ['HEALTH_PORT', '65536', /a port from 1 to 65535/],
    ['TEMPORAL_ADDRESS', 'http://temporal:7233', /host:port, without http:\/\//],
    ['TEMPORAL_TLS', 'maybe', /true or false/],
  ])('name %s when it is %j, and what it should be', (name, value, message) => {
    const read = () => readSettings({ [name]: value }, 1);
    expect(read).toThrow(/^wrong environment: /);
    expect(read).toThrow(`${name}=${value.slice(0, 100)}: `);
    expect(read).toThrow(message);
  });

  it('name all that is wrong at once', () => {
    const env = { LOG_LEVEL: 'loud', KAIROS_CLUSTER_NAME: 'No', TEMPORAL_TLS_CLIENT_CERT_PATH: '/certs/tls.crt' };
    expect(() => readSettings(env, 1)).toThrow(
      /KAIROS_CLUSTER_NAME=No: .*; LOG_LEVEL=loud: .*; TEMPORAL_TLS_CLIENT_KEY_PATH: needed, as its other half is set$/,
    );
  });

  it.each(['temporal', 'temporal.temporal.svc:7233', '10.96.0.7:7233', '[fd00::7]:7233'])(
    'take %s for an address of Temporal',
    (TEMPORAL_ADDRESS) => {
      expect(() => readSettings({ TEMPORAL_ADDRESS, TEMPORAL_TLS: 'true' }, 1)).not.toThrow();
    },
  );

  it('accept the longest name of a cluster, and the shortest', () => {
    for (const name of ['e'.repeat(63), '7'])
      expect(readSettings({ KAIROS_CLUSTER_NAME: name }, 1).clusterName).toBe(name);
  });

  it('has one API key for Temporal, not two', () => {
    const env = { TEMPORAL_API_KEY: 'k', TEMPORAL_API_KEY_FILE: '/keys/temporal' };
    expect(() => readSettings(env, 1)).toThrow(
      /TEMPORAL_API_KEY_FILE: TEMPORAL_API_KEY is set, too; leave one of them out/,
    );
  });
});
