import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { changeOf, readTemporalSettings } from '../../process/temporal-settings.ts';
import { selfSigned } from '../agent/self-signed.ts';

let folder: string;
const at = (name: string) => path.join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-temporal-settings-'));
  for (const name of ['one', 'other']) {
    const { cert, key } = selfSigned();
    writeFileSync(at(`${name}.crt`), cert);
    writeFileSync(at(`${name}.key`), key);
  }
  writeFileSync(at('api-key'), ' key-1\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const pair = (cert: string, key = cert) => ({
  TEMPORAL_ADDRESS: 'temporal:7233',
  TEMPORAL_TLS_SERVER_CA_CERT_PATH: at(`${cert}.crt`),
  TEMPORAL_TLS_CLIENT_CERT_PATH: at(`${cert}.crt`),
  TEMPORAL_TLS_CLIENT_KEY_PATH: at(`${key}.key`),
});
const keyed = (apiKey: string) => ({ TEMPORAL_ADDRESS: 'temporal:7233', TEMPORAL_API_KEY: apiKey });

describe('the settings of the connection to Temporal', () => {
  it('hold the key of a file without what is around it, and speak TLS with it', () => {
    const { connectionOptions, tls } = readTemporalSettings({ TEMPORAL_API_KEY_FILE: at('api-key') });
    expect({ apiKey: connectionOptions.apiKey, tls }).toEqual({ apiKey: 'key-1', tls: true });
  });

  it.each<[string, () => NodeJS.ProcessEnv, RegExp]>([
    ['two keys', () => ({ TEMPORAL_API_KEY_FILE: at('api-key'), TEMPORAL_API_KEY: 'k' }), /are both set: leave one/],
    ['a file that is not there', () => ({ TEMPORAL_API_KEY_FILE: at('nowhere') }), /ENOENT.*nowhere/],
    ['a certificate with another key', () => pair('one', 'other'), /key values mismatch/],
    [
      'what is no certificate',
      () => ({ ...pair('one'), TEMPORAL_TLS_CLIENT_CERT_PATH: at('api-key') }),
      /TEMPORAL_\* cannot/,
    ],
  ])('refuse %s', (_, env, expected) => {
    expect(() => readTemporalSettings(env())).toThrow(expected);
  });

  it.each<[string, () => [NodeJS.ProcessEnv, NodeJS.ProcessEnv], ReturnType<typeof changeOf>]>([
    ['the same files', () => [pair('one'), pair('one')], 'nothing'],
    ['another certificate', () => [pair('one'), pair('other')], 'connection'],
    ['another key', () => [keyed('a'), keyed('b')], 'apiKey'],
    ['the same key', () => [keyed('a'), keyed('a')], 'nothing'],
    ['a key where there was none', () => [{}, keyed('b')], 'connection'],
    [
      'a key and a certificate',
      () => [
        { ...pair('one'), ...keyed('a') },
        { ...pair('other'), ...keyed('b') },
      ],
      'connection',
    ],
  ])('tell what changed: %s', (_, envs, expected) => {
    const [before, now] = envs();
    expect(changeOf(readTemporalSettings(before), readTemporalSettings(now))).toBe(expected);
  });
});
