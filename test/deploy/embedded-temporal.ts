import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { freePort } from '../../sim/ports.ts';
import { managedProcess, type ManagedProcess } from '../../sim/processes.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { containerOf, only, type Container, type Manifest } from './chart.ts';

const DAY_SECONDS = 86_400;

export interface Ran {
  code: number;
  stdout: Buffer;
  stderr: string;
}

/** The pod of the embedded Temporal on this machine: its own command, scripts and settings with the real server. */
export class EmbeddedTemporal {
  readonly folder: string;
  readonly container: Container;
  readonly address: string;
  readonly server: ManagedProcess;
  readonly #env: Readonly<Record<string, string>>;

  /** Of the objects of a release whose retention is 45 days. With `bin` in the place of the folder with the CLI. */
  static async open(objects: readonly Manifest[], bin?: (folder: string) => string): Promise<EmbeddedTemporal> {
    const folder = mkdtempSync(path.join(tmpdir(), 'kairos-chart-temporal-'));
    for (const name of ['bin', 'data', 'scripts']) mkdirSync(path.join(folder, name));
    symlinkSync(await resolveTool('temporal'), path.join(folder, 'bin', 'temporal'));
    const port = await freePort();
    return new EmbeddedTemporal(folder, bin?.(folder) ?? path.join(folder, 'bin'), objects, port);
  }

  private constructor(folder: string, bin: string, objects: readonly Manifest[], port: number) {
    this.folder = folder;
    this.container = containerOf(objects, 'kairos-temporal');
    this.address = `127.0.0.1:${port}`;
    const { data } = only(objects, 'ConfigMap', 'kairos-temporal') as Manifest & { data: Record<string, string> };
    for (const [name, text] of Object.entries(data)) writeFileSync(path.join(folder, 'scripts', name), text);
    const here = (text: string) =>
      text
        .replace(/^\/(data|scripts)(?=\/|$)/, `${folder}/$1`)
        .replaceAll('7233', String(port))
        .replace('--ip=0.0.0.0', '--ip=127.0.0.1');
    const env = (this.container.env ?? []).map(({ name, value = '' }) => [name, here(value)]);
    this.#env = { PATH: `${bin}:/usr/bin:/bin`, ...(Object.fromEntries(env) as Record<string, string>) };
    const [command = '', ...flags] = [...(this.container.command ?? []), ...(this.container.args ?? [])].map(here);
    this.server = managedProcess({
      name: 'temporal',
      command,
      args: flags,
      env: this.#env,
      cwd: folder,
      logFile: path.join(folder, 'logs', 'temporal.log'),
      ready: async () => (await this.retentionSeconds()) === 45 * DAY_SECONDS,
    });
  }

  /** As `kubectl exec` in the pod would run it. */
  exec(script: string, input?: Buffer): Promise<Ran> {
    return new Promise((resolve) => {
      const args = [path.join(this.folder, 'scripts', script)];
      const options = { env: this.#env, encoding: 'buffer', maxBuffer: 1024 ** 3 } as const;
      const child = execFile('/bin/sh', args, options, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : 1, stdout, stderr: stderr.toString() });
      });
      // A script that ends before it has read all is judged by its code.
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(input);
    });
  }

  async withClient<T>(ask: (client: Client) => Promise<T>): Promise<T> {
    const connection = await Connection.connect({ address: this.address, connectTimeout: 1_000 });
    try {
      return await ask(new Client({ connection }));
    } finally {
      await connection.close();
    }
  }

  retentionSeconds(): Promise<number> {
    return this.withClient(async ({ workflowService }) => {
      const { config } = await workflowService.describeNamespace({ namespace: 'default' });
      return Number(config?.workflowExecutionRetentionTtl?.seconds);
    });
  }

  async close(): Promise<void> {
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
