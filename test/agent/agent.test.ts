import { appendFileSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AgentOptions } from '../../agent/agent.ts';
import { AGENT_FIELD_MANAGER } from '../../api/names.ts';
import { refuse } from './fake-api-server.ts';
import { eventually, HADRON } from './machine.ts';
import { AgentRig, FIRST_BOOT, SECOND_BOOT } from './rig.ts';

describe('the agent', () => {
  let rig: AgentRig;
  let { api, machine, stopping, running, states, warnings } = {} as AgentRig;
  beforeEach(async () => {
    rig = await new AgentRig().open();
    ({ api, machine, stopping, running, states, warnings } = rig);
  });
  afterEach(() => rig.close());

  const start = (changes: Partial<AgentOptions> = {}) => rig.start(changes);
  const status = () => rig.status();
  const reported = (bootID: string) => rig.reported(bootID);

  it('creates its KairosNode by bare name and applies the status as its own field manager', async () => {
    start();
    await reported(FIRST_BOOT);
    expect(api.requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
      `PATCH /apis/kairos.io/v1alpha1/kairosnodes/node-1/status?fieldManager=${AGENT_FIELD_MANAGER}&force=true`,
      `POST /apis/kairos.io/v1alpha1/kairosnodes?fieldManager=${AGENT_FIELD_MANAGER}`,
      `PATCH /apis/kairos.io/v1alpha1/kairosnodes/node-1/status?fieldManager=${AGENT_FIELD_MANAGER}&force=true`,
    ]);
    expect(api.requests[0]?.contentType).toBe('application/apply-patch+yaml');
    expect(api.requests[1]?.body).toEqual({
      apiVersion: 'kairos.io/v1alpha1',
      kind: 'KairosNode',
      metadata: { name: 'node-1' },
    });
    expect(status()).toMatchObject({ observedVersion: 'v4.0.3-k3sv1.33.9+k3s1', agentVersion: '0.1.0' });
    expect(Date.parse(status()?.['reportedAt'] ?? '')).toBeGreaterThan(Date.now() - 60_000);
    await eventually(() => states.at(-1) === 'reported');
  });

  it('reports a change at once and nothing while nothing changes', async () => {
    start();
    await reported(FIRST_BOOT);
    await eventually(() => states.length > 5);
    const before = api.requests.length;
    await eventually(() => states.length > 15);
    expect(api.requests).toHaveLength(before);
    machine.write(SECOND_BOOT);
    await reported('second-boot');
    expect(api.requests).toHaveLength(before + 1);
    expect(api.connections).toBe(1);
  });

  it('takes back what is no longer true', async () => {
    machine.write({ 'etc/kairos-operator/target': '{"digest":"sha256:1"}' });
    start();
    await eventually(() => status()?.['stamp'] !== undefined);
    rmSync(`${machine.root}/etc/kairos-operator`, { recursive: true });
    await eventually(() => status() !== undefined && status()?.['stamp'] === undefined);
  });

  it('repeats its report and so finds its KairosNode deleted', async () => {
    start({ reportIntervalMs: 150 });
    await reported(FIRST_BOOT);
    api.nodes.clear();
    await reported(FIRST_BOOT);
    expect(api.requests.filter(({ method }) => method === 'POST')).toHaveLength(2);
  });

  it('sends nothing from a machine that does not run Kairos, until it does', async () => {
    machine.write({ 'etc/kairos-release': '# empty\n' });
    start();
    await eventually(() => states.length > 5);
    expect(new Set(states)).toEqual(new Set(['idle']));
    expect([api.requests, api.connections]).toEqual([[], 0]);
    machine.write(HADRON);
    await reported(FIRST_BOOT);
  });

  it('is not idle but retrying where nothing is mounted', async () => {
    rmSync(machine.root, { recursive: true });
    start();
    await eventually(() => states.includes('retrying'));
    expect(String(warnings[0]?.['error'])).toContain('mount the machine');
    machine.write(HADRON);
    await reported(FIRST_BOOT);
  });

  it('takes up a new token after 401', async () => {
    api.token = 'second';
    start();
    await eventually(() => states.includes('retrying'));
    expect(String(warnings[0]?.['error'])).toContain('the token is not accepted');
    api.publish();
    await reported(FIRST_BOOT);
    expect(new Set(api.requests.map(({ token }) => token))).toEqual(new Set(['first', 'second']));
  });

  it('uses a rotated token without having been refused', async () => {
    start();
    await reported(FIRST_BOOT);
    api.token = 'second';
    api.publish();
    machine.write(SECOND_BOOT);
    await reported('second-boot');
    expect(states).not.toContain('retrying');
  });

  it('waits for files that are not mounted yet', async () => {
    rmSync(api.settings.tokenFile);
    start();
    await eventually(() => states.includes('retrying'));
    expect(String(warnings[0]?.['error'])).toContain('cannot read TOKEN_FILE');
    api.publish();
    await reported(FIRST_BOOT);
  });

  it('gives its token to no server that the CA file does not vouch for, and takes up a new CA', async () => {
    start();
    await reported(FIRST_BOOT);
    await api.stop();
    api.changeCertificate();
    const ca = readFileSync(api.settings.caFile);
    const seen = api.requests.length;
    await api.start();
    const published = readFileSync(api.settings.caFile);
    machine.write(SECOND_BOOT);
    // as if the server had been replaced and the file not yet
    writeFileSync(api.settings.caFile, ca);
    await eventually(() => states.at(-1) === 'retrying');
    expect(api.requests).toHaveLength(seen);
    writeFileSync(api.settings.caFile, published);
    await reported('second-boot');
  });

  it('survives a server that goes away and comes back', async () => {
    start({ reportIntervalMs: 100 });
    await reported(FIRST_BOOT);
    await api.stop();
    await eventually(() => states.at(-1) === 'retrying');
    machine.write(SECOND_BOOT);
    api.nodes.clear();
    await api.start();
    await reported('second-boot');
    await eventually(() => states.at(-1) === 'reported');
  });

  it.each([
    ['500', 500, 'InternalError'],
    ['403', 403, 'Forbidden'],
    ['429', 429, 'TooManyRequests'],
    ['a conflict', 409, 'Conflict'],
    ['422', 422, 'Invalid'],
    ['503', 503, 'ServiceUnavailable'],
    ['504', 504, 'Timeout'],
  ])('tries again after %s', async (_, code, reason) => {
    api.fault = (_request, response) => refuse(response, code, reason);
    start();
    await eventually(() => api.requests.length >= 2);
    expect(new Set(states)).toEqual(new Set(['retrying']));
    expect(String(warnings[0]?.['error'])).toContain(`${code} ${reason}: test: ${reason}`);
    api.fault = undefined;
    await reported(FIRST_BOOT);
  });

  it('tells a missing CustomResourceDefinition from a missing KairosNode', async () => {
    api.fault = (_request, response) => refuse(response, 404, 'NotFound');
    start();
    await eventually(() => warnings.length > 0);
    expect(String(warnings[0]?.['error'])).toContain('is the CustomResourceDefinition kairosnodes.kairos.io installed');
  });

  it('waits as long as the server asks', async () => {
    api.fault = (_request, response) => refuse(response, 429, 'TooManyRequests', { 'retry-after': '2' });
    start();
    await eventually(() => warnings.length > 0);
    // and not to the millisecond: the whole fleet was told the same
    expect(warnings[0]?.['retryInMs']).toBeGreaterThanOrEqual(2000);
    expect(warnings[0]?.['retryInMs']).toBeLessThanOrEqual(3000);
  });

  it.each([
    ['closes the connection', (response: ServerResponse) => response.socket?.destroy()],
    [
      'answers with half a body',
      (response: ServerResponse) => {
        response.writeHead(200, { 'content-length': '1000' }).write('{');
        setTimeout(() => response.socket?.destroy(), 20);
      },
    ],
    ['answers with no JSON', (response: ServerResponse) => response.writeHead(502).end('<html>')],
    [
      'answers without end',
      (response: ServerResponse) => {
        response.writeHead(500);
        response.end(Buffer.alloc(2_000_000, 'x'));
      },
    ],
  ])('tries again when the server %s', async (_, answer) => {
    api.fault = (_request, response) => {
      answer(response);
    };
    start();
    await eventually(() => states.includes('retrying'));
    api.fault = undefined;
    await reported(FIRST_BOOT);
  });

  it.each([
    ['the head', () => {}],
    ['the rest', (response: ServerResponse) => void response.writeHead(200).write('{')],
  ])('waits no longer than its deadline for %s of an answer, and stops at once when told to', async (_, answer) => {
    api.fault = (_request, response) => answer(response);
    start({ apiServer: { ...api.settings, deadlineMs: 300 } });
    await eventually(() => states.includes('retrying'));
    expect(String(warnings[0]?.['error'])).toContain('within 300 ms');
    await eventually(() => api.requests.length >= 2);
    const since = performance.now();
    stopping.abort();
    await Promise.all(running);
    expect(performance.now() - since).toBeLessThan(1000);
  });

  it('tries again when the server wants to speak another protocol', async () => {
    api.fault = (_request, response) => {
      response.socket?.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n');
    };
    start();
    await eventually(() => states.includes('retrying'));
    api.fault = undefined;
    await reported(FIRST_BOOT);
  });

  it.each([
    ['the certificates', 'caFile', 'CA_FILE'],
    ['the token', 'tokenFile', 'TOKEN_FILE'],
  ] as const)('connects to nobody while %s are an empty file, as one half replaced', async (_, file, option) => {
    writeFileSync(api.settings[file], '\n');
    start();
    await eventually(() => states.includes('retrying'));
    expect(String(warnings[0]?.['error'])).toContain(`${option} ${api.settings[file]} is empty`);
    expect(api.connections).toBe(0);
    api.publish();
    await reported(FIRST_BOOT);
  });

  it.each(['no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'])(
    'gives its token to nobody while the certificates are %j',
    async (text) => {
      writeFileSync(api.settings.caFile, text);
      start();
      await eventually(() => states.includes('retrying'));
      expect(api.requests).toEqual([]);
      api.publish();
      await reported(FIRST_BOOT);
    },
  );

  it('has one request under way at a time, however slow the answers and fast the changes', async () => {
    api.delayMs = 30;
    start({ pollIntervalMs: 1, reportIntervalMs: 40, checkIntervalMs: 5 });
    for (let n = 0; n < 12; n += 1) {
      machine.write({ 'proc/sys/kernel/random/boot_id': `boot-${n}` });
      await eventually(() => api.requests.length > 2 * n + 3);
    }
    await reported('boot-11');
    expect([api.mostPending, api.connections]).toEqual([1, 1]);
  });

  it('says once what it had to leave out, and again when that changes', async () => {
    machine.write({ 'etc/kairos-operator/target': 'no JSON' });
    start();
    await reported(FIRST_BOOT);
    await eventually(() => states.length > 5);
    expect(warnings).toEqual([
      { message: 'left out of the report', node: 'node-1', left: ['the stamp: it is no JSON'] },
    ]);
    machine.write({ 'etc/kairos-operator/target': '[]' });
    await eventually(() => warnings.length === 2);
    machine.write({ 'etc/kairos-operator/target': '{"sourceBootID":"b-1"}' });
    await eventually(() => (status()?.['stamp'] as { sourceBootID?: string } | undefined)?.sourceBootID === 'b-1');
    expect(warnings).toHaveLength(2);
  });

  it.each([
    ['replaced', (path: string, text: string) => (writeFileSync(`${path}.new`, text), renameSync(`${path}.new`, path))],
    [
      'written over in pieces',
      (path: string, text: string) => {
        writeFileSync(path, '');
        for (const line of text.split(/(?<=\n)/)) appendFileSync(path, line);
      },
    ],
    [
      'deleted and made again',
      (path: string, text: string) => (rmSync(path, { force: true }), writeFileSync(path, text)),
    ],
  ])('ends with the right report when files are %s while it reads them', async (_, write) => {
    const path = `${machine.root}/etc/kairos-release`;
    start({ pollIntervalMs: 1 });
    for (let n = 0; n < 300; n += 1) {
      write(path, `KAIROS_RELEASE=v4.0.${n}\n${'#\n'.repeat(n)}KAIROS_VERSION=v4.0.${n}\n`);
      if (n % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await eventually(() => status()?.['observedVersion'] === 'v4.0.299');
    await eventually(() => states.at(-1) === 'reported');
    expect(status()?.['release']).toMatchObject({ KAIROS_RELEASE: 'v4.0.299', KAIROS_VERSION: 'v4.0.299' });
  });

  it('runs many times in one process', async () => {
    const problems: string[] = [];
    const listen = (warning: Error) => problems.push(warning.message);
    process.on('warning', listen);
    for (let n = 0; n < 40; n += 1) start({ nodeName: `node-${n}` });
    await eventually(() => [...api.nodes.values()].filter((node) => node['bootID'] === FIRST_BOOT).length === 40);
    stopping.abort();
    await Promise.all(running);
    process.off('warning', listen);
    expect(problems).toEqual([]);
  });

  it('ends at once when it is stopped before it starts', async () => {
    stopping.abort();
    start();
    await Promise.all(running);
    expect(api.requests).toEqual([]);
  });
});
