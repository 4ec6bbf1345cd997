import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { runAgent, type AgentOptions, type AgentState } from '../../agent/agent.ts';
import { AGENT_FIELD_MANAGER } from '../../api/names.ts';
import { FakeApiServer, refuse } from './fake-api-server.ts';
import { eventually, HADRON, makeMachine, type TestMachine } from './machine.ts';

const SECOND_BOOT = { 'proc/sys/kernel/random/boot_id': 'second-boot\n' };

describe('the agent', () => {
  let api: FakeApiServer;
  let machine: TestMachine;
  let stopping: AbortController;
  let running: Promise<unknown>[];
  let states: AgentState[];
  let warnings: Record<string, unknown>[];

  beforeEach(async () => {
    api = await new FakeApiServer().start();
    machine = makeMachine(HADRON);
    stopping = new AbortController();
    running = [];
    states = [];
    warnings = [];
  });

  afterEach(async () => {
    stopping.abort();
    await Promise.all(running);
    await api.remove();
    machine.remove();
  });

  function start(changes: Partial<AgentOptions> = {}): void {
    const log = { info: () => {}, warn: (_: string, fields: Record<string, unknown> = {}) => warnings.push(fields) };
    const options: AgentOptions = {
      nodeName: 'node-1',
      hostRoot: machine.root,
      apiServer: api.settings,
      reportIntervalMs: 3_600_000,
      pollIntervalMs: 20,
      log,
      version: '0.1.0',
      onState: (state) => states.push(state),
      ...changes,
    };
    running.push(runAgent(options, stopping.signal));
  }

  const status = (name = 'node-1') => api.nodes.get(name) as Record<string, string> | undefined;
  const reported = (bootID: string) => eventually(() => status()?.['bootID'] === bootID);
  const firstBoot = '3f2b6c1e-0d54-4a6f-9f0e-1c2d3e4f5a6b';

  it('creates its KairosNode by bare name and applies the status as its own field manager', async () => {
    start();
    await reported(firstBoot);
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
    await reported(firstBoot);
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
    await reported(firstBoot);
    api.nodes.clear();
    await reported(firstBoot);
    expect(api.requests.filter(({ method }) => method === 'POST')).toHaveLength(2);
  });

  it('sends nothing from a machine that does not run Kairos, until it does', async () => {
    machine.write({ 'etc/kairos-release': '# empty\n' });
    start();
    await eventually(() => states.length > 5);
    expect(new Set(states)).toEqual(new Set(['idle']));
    expect([api.requests, api.connections]).toEqual([[], 0]);
    machine.write(HADRON);
    await reported(firstBoot);
  });

  it('is not idle but retrying where nothing is mounted', async () => {
    rmSync(machine.root, { recursive: true });
    start();
    await eventually(() => states.includes('retrying'));
    expect(String(warnings[0]?.['error'])).toContain('mount the machine');
    machine.write(HADRON);
    await reported(firstBoot);
  });

  it('takes up a new token after 401', async () => {
    api.token = 'second';
    start();
    await eventually(() => states.includes('retrying'));
    expect(String(warnings[0]?.['error'])).toContain('the token is not accepted');
    api.publish();
    await reported(firstBoot);
    expect(new Set(api.requests.map(({ token }) => token))).toEqual(new Set(['first', 'second']));
  });

  it('uses a rotated token without having been refused', async () => {
    start();
    await reported(firstBoot);
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
    await reported(firstBoot);
  });

  it('gives its token to no server that the CA file does not vouch for, and takes up a new CA', async () => {
    start();
    await reported(firstBoot);
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
    await reported(firstBoot);
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
  ])('tries again after %s', async (_, code, reason) => {
    api.fault = (_request, response) => refuse(response, code, reason);
    start();
    await eventually(() => api.requests.length >= 2);
    expect(new Set(states)).toEqual(new Set(['retrying']));
    expect(String(warnings[0]?.['error'])).toContain(`${code} ${reason}: test: ${reason}`);
    api.fault = undefined;
    await reported(firstBoot);
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
    expect(warnings[0]?.['retryInMs']).toBe(2000);
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
    await reported(firstBoot);
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

  it('runs many times in one process', async () => {
    const problems: string[] = [];
    const listen = (warning: Error) => problems.push(warning.message);
    process.on('warning', listen);
    for (let n = 0; n < 40; n += 1) start({ nodeName: `node-${n}` });
    await eventually(() => [...api.nodes.values()].filter((node) => node['bootID'] === firstBoot).length === 40);
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
