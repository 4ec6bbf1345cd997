import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readPrometheusServers } from '../../process/prometheus-servers.ts';
import { selfSigned } from '../agent/self-signed.ts';

let folder: string;
let file: string;
const at = (name: string) => path.join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-prometheus-'));
  file = at('servers.yaml');
  writeFileSync(at('ca.crt'), selfSigned().cert);
  writeFileSync(at('token'), 'secret\n');
  writeFileSync(at('empty'), '\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the Prometheus servers that want credentials', () => {
  it('are none without a file, and none where it is empty', () => {
    expect(readPrometheusServers(undefined)).toEqual([]);
    writeFileSync(file, '');
    expect(readPrometheusServers(file)).toEqual([]);
  });

  it('are what the file says', () => {
    const servers = [
      { url: 'https://a:9090', caFile: at('ca.crt'), bearerTokenFile: at('token') },
      { url: 'http://b:9090/x', username: 'kairos', passwordFile: at('token') },
    ];
    writeFileSync(file, JSON.stringify(servers));
    expect(readPrometheusServers(file)).toEqual(servers);
  });

  it.each<[string, () => unknown, RegExp]>([
    ['a file that is no list', () => ({ url: 'https://a' }), /expected array/],
    ['a field that there is not', () => [{ url: 'https://a', token: 'x' }], /0: .*token/],
    ['an address that is none', () => [{ url: 'a:9090' }], /0\.url: write an address such as https:\/\/prometheus/],
    ['a relative path', () => [{ url: 'https://a', caFile: 'ca.crt' }], /0\.caFile: write an absolute path/],
    ['a certificate without TLS', () => [{ url: 'http://a', caFile: at('ca.crt') }], /caFile is for https/],
    ['half of a pair', () => [{ url: 'https://a', username: 'x' }], /username and passwordFile go together/],
    [
      'two ways to be known',
      () => [{ url: 'https://a', username: 'x', passwordFile: at('token'), bearerTokenFile: at('token') }],
      /keep one/,
    ],
    ['the same address twice', () => [{ url: 'https://a' }, { url: 'https://a/' }], /the same url is there twice/],
    [
      'a file that is not there',
      () => [{ url: 'https://a', bearerTokenFile: at('none') }],
      /bearerTokenFile of https:\/\/a: .*none cannot be read: ENOENT/,
    ],
    ['one that is empty', () => [{ url: 'https://a', bearerTokenFile: at('empty') }], /empty is empty/],
    ['one that is no certificate', () => [{ url: 'https://a', caFile: at('token') }], /token is no certificate in PEM/],
  ])('are refused for %s, which is named with the file', (_, given, words) => {
    writeFileSync(file, JSON.stringify(given()));
    expect(() => readPrometheusServers(file)).toThrow(words);
    expect(() => readPrometheusServers(file)).toThrow(`Prometheus servers, ${file}: `);
  });
});
