import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { freePort } from '../../sim/ports.ts';
import { managedProcess, type ManagedProcess } from '../../sim/processes.ts';
import { startTemporal, type TemporalServer } from '../../sim/temporal-server.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { temporalUiSettings } from '../../tools/temporal-ui.ts';
import { containerOf, HELM_BUILD_MS, isOfTemporalChart, PROFILES, render } from './chart.ts';

type Environment = Record<string, string>;

let folder: string;
let temporal: TemporalServer;
let connection: Connection;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-temporal-ui-'));
  mkdirSync(path.join(folder, 'config'));
  copyFileSync(await temporalUiSettings(), path.join(folder, 'config', 'docker.yaml'));
  temporal = await startTemporal({ folder: path.join(folder, 'temporal') });
  connection = await Connection.connect({ address: temporal.address });
}, HELM_BUILD_MS);

afterAll(async () => {
  await connection?.close();
  await temporal?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The real UI with the environment that a release gives it, as the script of its image starts it. */
async function uiOf(values: Record<string, unknown>): Promise<{ url: string; process: ManagedProcess }> {
  const { env = [] } = containerOf(await render(values), 'kairos-temporal-web');
  const given: Environment = Object.fromEntries(env.map(({ name, value = '' }) => [name, value]));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const process = managedProcess({
    name: 'temporal-ui',
    command: await resolveTool('temporal-ui'),
    args: ['--env', 'docker', 'start'],
    env: { ...given, TEMPORAL_ADDRESS: temporal.address, TEMPORAL_UI_PORT: String(port) },
    cwd: folder,
    logFile: path.join(folder, 'logs', `ui-${port}.log`),
    ready: async (signal) => (await fetch(`${url}/healthz`, { signal })).ok,
  });
  await process.start();
  return { url, process };
}

/** What becomes of a look, a termination and a start of a workflow through the UI. */
async function tried(values: Record<string, unknown>, workflowId: string): Promise<object> {
  const client = new Client({ connection });
  const handle = await client.workflow.start('nobodyRunsIt', { workflowId, taskQueue: 'nobody' });
  const { url, process } = await uiOf(values);
  try {
    const workflow = `${url}/api/v1/namespaces/default/workflows/${workflowId}`;
    const page = await fetch(url);
    const look = await fetch(workflow);
    const { token, cookie } = await csrf(url);
    const post = (address: string, body: object) =>
      fetch(address, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-CSRF-TOKEN': token, Cookie: cookie, Origin: url },
        body: JSON.stringify(body),
      });
    const terminate = await post(`${workflow}/terminate`, { reason: 'a click' });
    const begin = await post(`${workflow}-2`, { workflowType: { name: 'a' }, taskQueue: { name: 'b' } });
    const { status } = await handle.describe();
    return {
      page: page.status,
      scripts: (await page.text()).includes('/_app/'),
      look: look.status,
      terminate: terminate.status,
      begin: begin.status,
      workflow: status.name,
    };
  } finally {
    await process.stop();
  }
}

/** What a browser has from the first page: the UI refuses what changes something without it. */
async function csrf(url: string): Promise<{ token: string; cookie: string }> {
  const { headers } = await fetch(`${url}/api/v1/settings`);
  const cookie =
    headers
      .getSetCookie()
      .find((one) => one.startsWith('_csrf='))
      ?.split(';')[0] ?? '';
  return { token: cookie.slice('_csrf='.length), cookie };
}

describe("Temporal's UI", () => {
  it('shows all and changes nothing', async () => {
    expect(await tried(PROFILES['embedded'] ?? {}, 'read-only')).toEqual({
      page: 200,
      scripts: true,
      look: 200,
      terminate: 405,
      begin: 405,
      workflow: 'RUNNING',
    });
  }, 60_000);

  it('does what it is asked where that is wanted', async () => {
    const values = { ...PROFILES['embedded'], embeddedTemporal: { ui: { readOnly: false } } };
    expect(await tried(values, 'writable')).toMatchObject({ look: 200, terminate: 200, workflow: 'TERMINATED' });
  }, 60_000);

  it('of the chart of Temporal changes nothing either', async () => {
    const values = PROFILES['chart of Temporal, PostgreSQL'] ?? {};
    expect((await render(values)).some((object) => isOfTemporalChart(object))).toBe(true);
    expect(await tried(values, 'of-the-chart')).toMatchObject({
      look: 200,
      terminate: 405,
      begin: 405,
      workflow: 'RUNNING',
    });
  }, 60_000);
});
