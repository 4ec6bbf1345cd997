import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { closedHealth, refreshHealth } from '../../activities/health-gate.ts';
import type { HealthGateSpec } from '../../api/rollout-spec.ts';
import type { PrometheusServer } from '../../api/schemas/prometheus-servers.ts';
import { freePort } from '../../sim/ports.ts';
import { managedProcess, type ManagedProcess } from '../../sim/processes.ts';
import { selfSigned } from '../agent/self-signed.ts';
import { HAND } from '../activities/step-world.ts';

const PASSWORD = 'of the gates';
/** The same by bcrypt, as Prometheus wants it. */
const HASHED = '$2b$10$abcdefghijklmnopqrstuupjZo5WmvB6dEmHYxs2jDldrTDxomHD.';

/** What the target of the scrapes says of itself. */
const metrics = { errors: 0.2, queue: 3 };

let folder: string;
let target: Server;
let prometheus: ManagedProcess;
let url: string;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-prometheus-'));
  target = createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/plain; version=0.0.4');
    response.end(
      `shop_errors_ratio{shop="a"} ${metrics.errors}\nshop_errors_ratio{shop="b"} 0\nshop_queue ${metrics.queue}\n`,
    );
  });
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve));
  const { port: targetPort } = target.address() as AddressInfo;
  writeFileSync(
    path.join(folder, 'rules.yml'),
    `groups: [{ name: shop, interval: 1s, rules: [{ alert: ShopFails, expr: 'shop_errors_ratio > 0.1', labels: { severity: critical } }] }]`,
  );
  writeFileSync(
    path.join(folder, 'prometheus.yml'),
    `global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: [${folder}/rules.yml]
scrape_configs: [{ job_name: shop, static_configs: [{ targets: ['127.0.0.1:${targetPort}'] }] }]
`,
  );
  const { key, cert } = selfSigned();
  for (const [name, text] of Object.entries({ key, cert, password: PASSWORD }))
    writeFileSync(path.join(folder, name), text);
  writeFileSync(
    path.join(folder, 'web.yml'),
    `tls_server_config: { cert_file: ${folder}/cert, key_file: ${folder}/key }
basic_auth_users: { kairos: ${HASHED} }
`,
  );
  const port = await freePort();
  url = `https://127.0.0.1:${port}`;
  prometheus = managedProcess({
    name: 'prometheus',
    command: 'prometheus',
    args: [
      `--config.file=${folder}/prometheus.yml`,
      `--web.config.file=${folder}/web.yml`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--query.lookback-delta=3s',
    ],
    cwd: folder,
    env: {},
    logFile: path.join(folder, 'prometheus.log'),
    stopTimeoutMs: 10_000,
  });
  await prometheus.start();
}, 30_000);

afterAll(async () => {
  await prometheus?.stop();
  target?.close();
  rmSync(folder, { recursive: true, force: true });
}, 30_000);

/** What the gate says, asked anew. */
async function ask(
  gate: Omit<NonNullable<HealthGateSpec['prometheus']>, 'url'>,
  address = url,
  known: Partial<PrometheusServer> = { username: 'kairos', passwordFile: path.join(folder, 'password') },
): Promise<string | undefined> {
  const prometheusServers = [{ url, caFile: path.join(folder, 'cert'), ...known }];
  const view = { prometheusServers } as unknown as ClusterView;
  const asked: HealthGateSpec = { name: 'shop', intervalMs: 60_000, prometheus: { url: address, ...gate } };
  const context = { ...HAND, spec: { ...HAND.spec, healthGates: [asked] } };
  await refreshHealth(view, context);
  return closedHealth(view, context)?.reason.replace(/; seen since .*$/, '');
}

/** Asks until the answer is this; the last answer is what a failure shows. */
async function until(gate: Parameters<typeof ask>[0], expected: string | undefined): Promise<void> {
  const giveUpAtMs = Date.now() + 20_000;
  let said = await ask(gate);
  while (said !== expected && Date.now() < giveUpAtMs) {
    await sleep(200);
    said = await ask(gate);
  }
  expect(said).toBe(expected);
}

describe('a Prometheus', () => {
  it('opens and closes a gate by the value of a query, and names the series', async () => {
    const gate = { query: 'shop_errors_ratio', below: '0.05' };
    const labels = /\{instance="127\.0\.0\.1:\d+", job="shop", shop="a"\}/;
    let said = await ask(gate);
    for (let tries = 0; tries < 100 && !/is 0\.2/.test(said ?? ''); tries++) {
      await sleep(200);
      said = await ask(gate);
    }
    expect(said).toMatch(labels);
    expect(said).toMatch(/^health gate shop: shop_errors_ratio \{.*\} is 0\.2, should be below 0\.05$/);
    expect(await ask({ query: 'sum(shop_queue)', equals: '3' })).toBeUndefined();
    expect(await ask({ query: 'sum(shop_queue)', above: '3' })).toBe(
      'health gate shop: sum(shop_queue) is 3, should be above 3',
    );
    expect(await ask({ query: 'scalar(sum(shop_queue))', equals: '3' })).toBeUndefined();
    metrics.errors = 0;
    await until(gate, undefined);
  }, 60_000);

  it('opens and closes a gate by its alerts, those that are asked for', async () => {
    metrics.errors = 0.5;
    const giveUpAtMs = Date.now() + 20_000;
    let said = await ask({ alerts: {} });
    while (said === undefined && Date.now() < giveUpAtMs) {
      await sleep(200);
      said = await ask({ alerts: {} });
    }
    expect(said).toMatch(/^health gate shop: alert ShopFails is firing \{.*severity="critical".*\}$/);
    expect(await ask({ alerts: { selector: 'severity="warning"' } })).toBeUndefined();
    expect(await ask({ alerts: { selector: 'severity=~"critical|page"' } })).toContain('ShopFails');
    metrics.errors = 0;
    await until({ alerts: {} }, undefined);
  }, 60_000);

  it('that wants to know who asks is told so, and closes the gate where it is not', async () => {
    expect(await ask({ query: 'vector(1)', equals: '1' })).toBeUndefined();
    expect(await ask({ query: 'vector(2)', equals: '2' }, url, {})).toMatch(
      /it cannot be asked: Prometheus https:\S+ refuses us \(HTTP 401\), with the credentials of https:\S+: see worker\.prometheus/,
    );
  }, 60_000);

  it('closes a gate where it cannot say, in its own words', async () => {
    expect(await ask({ query: 'no_such_metric', below: '1' })).toBe(
      'health gate shop: the query no_such_metric has no samples, should have some',
    );
    expect(await ask({ query: 'sum(', below: '1' })).toMatch(
      /^health gate shop: it cannot be asked: Prometheus https:\S+\/api\/v1\/query refuses the query sum\(: .*parse error/,
    );
    expect(await ask({ query: 'shop_queue[5m]', below: '1' })).toContain(
      'answers a matrix: write one that answers numbers of now',
    );
    const nobody = `http://127.0.0.1:${await freePort()}`;
    expect(await ask({ query: 'up', below: '1' }, nobody)).toMatch(
      /it cannot be asked: Prometheus http:\S+ does not answer: .*ECONNREFUSED/,
    );
    const { port } = target.address() as AddressInfo;
    expect(await ask({ query: 'up', below: '1' }, `http://127.0.0.1:${port}`)).toContain(
      'HTTP 200, which is no answer of Prometheus',
    );
  }, 30_000);
});
