import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlain, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { queryPrometheus } from '../../activities/prometheus.ts';
import type { PrometheusServer } from '../../api/schemas/prometheus-servers.ts';
import { selfSigned } from '../agent/self-signed.ts';

const VECTOR = { status: 'success', data: { resultType: 'vector', result: [{ metric: { a: 'b' }, value: [0, '2'] }] } };

let folder: string;
let secure: Server;
let plain: Server;
let seen: { authorization: string | undefined; query: string | null }[];
let wanted: string | undefined;

const at = (name: string) => path.join(folder, name);
const portOf = (server: Server) => (server.address() as AddressInfo).port;
const url = () => `https://127.0.0.1:${portOf(secure)}`;

/** Answers as a Prometheus does behind a proxy that wants to know who asks. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { authorization } = request.headers;
  seen.push({ authorization, query: new URLSearchParams(await text(request)).get('query') });
  if (request.url !== '/api/v1/query')
    response.writeHead(302, { Location: `http://127.0.0.1:${portOf(plain)}/` }).end();
  else if (wanted !== undefined && authorization !== wanted) response.writeHead(401).end('Unauthorized');
  else response.end(JSON.stringify(VECTOR));
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-prometheus-'));
  const { key, cert } = selfSigned();
  writeFileSync(at('ca.crt'), cert);
  writeFileSync(at('password'), 'wo:rd\n');
  secure = createServer({ key, cert }, (request, response) => void answer(request, response));
  plain = createPlain((request, response) => void answer(request, response));
  for (const server of [secure, plain]) await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterAll(async () => {
  for (const server of [secure, plain]) await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  seen = [];
  wanted = undefined;
});

const ask = (servers: readonly PrometheusServer[], asked = url()) =>
  queryPrometheus({ url: asked, query: 'up' }, servers, AbortSignal.timeout(5_000));

describe('a Prometheus with a certificate of its own', () => {
  it('is asked where its CA is named, and not trusted where it is not', async () => {
    expect(await ask([{ url: url(), caFile: at('ca.crt') }])).toEqual([{ labels: { a: 'b' }, value: 2 }]);
    expect(seen).toEqual([{ authorization: undefined, query: 'up' }]);
    await expect(ask([])).rejects.toThrow(/^Prometheus https:.* does not answer: .*self.signed certificate/);
    expect(seen).toHaveLength(1);
  });

  it('is told the token that its file holds now', async () => {
    const servers = [{ url: url(), caFile: at('ca.crt'), bearerTokenFile: at('token') }];
    for (const token of ['first', 'second']) {
      writeFileSync(at('token'), `${token}\n`);
      wanted = `Bearer ${token}`;
      expect(await ask(servers)).toHaveLength(1);
    }
    rmSync(at('token'));
    await expect(ask(servers)).rejects.toThrow(/ENOENT.*token/);
  });

  it('is told name and password', async () => {
    wanted = `Basic ${Buffer.from('kairos:wo:rd').toString('base64')}`;
    const server = { url: url(), caFile: at('ca.crt'), username: 'kairos', passwordFile: at('password') };
    expect(await ask([server])).toHaveLength(1);
  });

  it('that refuses us is named with what to look at', async () => {
    wanted = 'Bearer other';
    await expect(ask([{ url: url(), caFile: at('ca.crt') }])).rejects.toThrow(
      /refuses us \(HTTP 401\), with the credentials of https:.*: see worker\.prometheus in the values of the chart$/,
    );
    await expect(ask([], `http://127.0.0.1:${portOf(plain)}`)).rejects.toThrow(/the worker has no credentials for it/);
  });
});

describe('a token', () => {
  const server = () => ({ url: url(), caFile: at('ca.crt'), bearerTokenFile: at('token') });
  beforeEach(() => writeFileSync(at('token'), 'secret'));

  it('is not sent to another address', async () => {
    await ask([server()], `http://127.0.0.1:${portOf(plain)}`);
    expect(seen).toEqual([{ authorization: undefined, query: 'up' }]);
  });

  it('is not sent where a redirect leads', async () => {
    await expect(ask([server()], `${url()}/elsewhere`)).rejects.toThrow(/HTTP 302, which is no answer of Prometheus/);
    expect(seen).toHaveLength(1);
  });
});
