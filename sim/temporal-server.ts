import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { resolveTool } from '../tools/resolve.ts';
import { fixedPort, freePort } from './ports.ts';
import { managedProcess, type ManagedProcess } from './processes.ts';

export interface TemporalServerOptions {
  /** Holds the database and the log; a database found there is taken up again. Absolute path. */
  readonly folder: string;
  /** Ports to use instead of free ones, for a demo whose address people remember. */
  readonly port?: number;
  readonly uiPort?: number;
}

export interface TemporalServer {
  /** host:port of the frontend. */
  readonly address: string;
  readonly uiUrl: string;
  readonly process: ManagedProcess;
  /** Stops the server; the database stays. */
  stop(): Promise<void>;
}

/**
 * The defaults hold a lone workflow to about 20 hand-offs a second and sync the disk with a rollback journal. These
 * bring a node's overhead from 1250 to 200 ms; every commit is still synced (write-ahead log, synchronous=full).
 */
const TUNING = [
  'history.transferProcessorMaxPollRPS=2000',
  'history.transferProcessorMaxPollHostRPS=5000',
  'history.timerProcessorMaxPollRPS=2000',
  'history.visibilityProcessorMaxPollRPS=200',
  // With GOMEMLIMIT: near 300 MiB where the defaults pass 540.
  'history.hostLevelCacheMaxSize=256',
];
const PRAGMAS = ['journal_mode=wal', 'synchronous=full'];

/** Starts the server that `temporal server start-dev` is, on 127.0.0.1 only. Throws ProcessError when it does not come up, an Error when a port is taken. */
export async function startTemporal(options: TemporalServerOptions): Promise<TemporalServer> {
  const { folder } = options;
  const port = await portFor(options.port, 'Temporal');
  const uiPort = await portFor(options.uiPort, "Temporal's UI");
  mkdirSync(folder, { recursive: true });
  const server = managedProcess({
    name: 'temporal',
    command: await resolveTool('temporal'),
    args: [
      'server',
      'start-dev',
      `--db-filename=${join(folder, 'temporal.db')}`,
      '--ip=127.0.0.1',
      '--ui-ip=127.0.0.1',
      `--port=${port}`,
      `--ui-port=${uiPort}`,
      `--http-port=${await freePort()}`,
      `--metrics-port=${await freePort()}`,
      '--ui-disable-news-fetch',
      '--log-level=warn',
      ...TUNING.map((value) => `--dynamic-config-value=${value}`),
      ...PRAGMAS.map((pragma) => `--sqlite-pragma=${pragma}`),
    ],
    env: { GOMEMLIMIT: '220MiB' },
    cwd: folder,
    logFile: join(folder, 'logs', 'temporal.log'),
    // The UI listens last, after the frontend serves.
    ready: async (signal) => (await accepts(port)) && (await namespaceServed(uiPort, signal)),
  });
  await server.start();
  return {
    address: `127.0.0.1:${port}`,
    uiUrl: `http://127.0.0.1:${uiPort}`,
    process: server,
    stop: () => server.stop(),
  };
}

const portFor = (asked: number | undefined, who: string) => (asked === undefined ? freePort() : fixedPort(asked, who));

/** Whether the default namespace answers, asked through the UI's API: no gRPC client is needed here. */
async function namespaceServed(uiPort: number, signal: AbortSignal): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${uiPort}/api/v1/namespaces/default`, { signal });
  await answer.arrayBuffer();
  return answer.ok;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
