import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { buildAgent, type AgentBundle } from '../../agent/build.ts';
import { serveHealth } from '../../agent/health.ts';
import type { AgentState } from '../../agent/agent.ts';
import { FakeApiServer } from './fake-api-server.ts';
import { eventually, HADRON, makeMachine } from './machine.ts';

describe('the bundle of the agent', () => {
  const folder = mkdtempSync(join(tmpdir(), 'agent-bundle-'));
  let bundle: AgentBundle;
  beforeAll(async () => {
    bundle = await buildAgent(join(folder, 'agent.mjs'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is one small file that imports nothing but what Node brings', () => {
    expect(
      bundle.imports.filter((name) => !(name.startsWith('node:') && builtinModules.includes(name.slice(5)))),
    ).toEqual([]);
    const text = readFileSync(bundle.outfile, 'utf8');
    expect(text).not.toMatch(/\brequire\(/);
    expect(bundle.bytes).toBeLessThan(40 * 1024);
    const network = /^node:(https?2?|net|tls|dgram|dns.*|child_process|worker_threads|cluster|module|vm)$/;
    // out by https alone; http answers the kubelet
    expect([...new Set(bundle.imports.filter((name) => network.test(name)))].sort()).toEqual([
      'node:http',
      'node:https',
    ]);
    expect(text).not.toMatch(/\bfetch\(|\bWebSocket\b|\bimport\(/);
  });

  it('names every wrong setting and ends with 1', async () => {
    const agent = spawn(process.execPath, [bundle.outfile], { env: {}, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    agent.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const [code] = (await once(agent, 'close')) as [number];
    expect(code).toBe(1);
    expect(
      output
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { msg: string }).msg),
    ).toEqual([
      expect.stringContaining('NODE_NAME is not set'),
      expect.stringContaining('KUBERNETES_SERVICE_HOST is not set'),
    ]);
  });

  it('runs, reports its version, answers the kubelet and ends on SIGTERM', async () => {
    const api = await new FakeApiServer().start();
    const machine = makeMachine(HADRON);
    const probe = await serveHealth(0, () => undefined);
    const address = probe.address();
    const port = String(typeof address === 'object' ? address?.port : address);
    probe.close();
    const agent = spawn(process.execPath, [bundle.outfile], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        NODE_NAME: 'node-1',
        HOST_ROOT: machine.root,
        KUBERNETES_SERVICE_HOST: api.settings.host,
        KUBERNETES_SERVICE_PORT: String(api.settings.port),
        CA_FILE: api.settings.caFile,
        TOKEN_FILE: api.settings.tokenFile,
        POLL_INTERVAL: '100ms',
        HEALTH_PORT: port,
      },
    });
    try {
      await eventually(() => api.nodes.get('node-1')?.['agentVersion'] === '0.1.0');
      const ready = async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.status;
      await eventually(async () => (await ready()) === 200);
      await api.stop();
      machine.write({ 'proc/sys/kernel/random/boot_id': 'second-boot' });
      await eventually(async () => (await ready()) === 503);
    } finally {
      agent.kill('SIGTERM');
      const [code] = (await once(agent, 'close')) as [number];
      await api.remove();
      machine.remove();
      expect(code).toBe(0);
    }
  });
});

describe('the health endpoint', () => {
  it.each<[AgentState | undefined, number]>([
    [undefined, 503],
    ['retrying', 503],
    ['reported', 200],
    ['idle', 200],
  ])('is ready or not: %s is %s', async (state, code) => {
    const server = await serveHealth(0, () => state);
    const address = server.address();
    const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
    const answers = await Promise.all(
      ['/readyz', '/healthz', '/other'].map(async (path) => (await fetch(url + path)).status),
    );
    server.close();
    server.closeAllConnections();
    expect(answers).toEqual([code, 200, 404]);
  });
});
