import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import { delimiter, dirname, resolve } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';

/** How one call reaches the API server. */
export interface Access {
  server: URL;
  headers: Record<string, string>;
  /** The pools that connections come from; the same ones as long as the TLS files stay the same. */
  pools: Pools;
  /** `user:password`, for kubeconfigs with basic authentication. */
  auth?: string;
}

/** Watches hold their connection for minutes: in one pool with the calls, many of them would leave none for a call. */
interface Pools {
  calls: HttpAgent;
  watches: HttpAgent;
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
/** Files are read again after this time, as client-go does: tokens, certificates and the kubeconfig itself rotate. */
const RELOAD_MS = 60_000;
const RELOAD_RETRY_MS = 5_000;
/** A connection is closed before the API server does it (after 90 s idle), or a call could meet that moment. */
const IDLE_CONNECTION_MS = 60_000;
/** For calls; watches are not counted. */
const MAX_CONNECTIONS = 64;

/**
 * Credentials and connections of one cluster. client-node's KubeConfig does what it does well (kubeconfig files, exec
 * plugins, OIDC, proxies); the connections are ours, because it makes a new pool for every call.
 */
export class ClusterAccess {
  readonly #kubeconfig: string | undefined;
  #config: KubeConfig;
  #reloadAt = 0;
  #access: Promise<Access> | undefined;
  #pools: Pools | undefined;
  #poolsKey = '';

  /** Throws when there is nothing usable: a clear mistake at start-up should not be retried for ever. */
  constructor(kubeconfig?: string) {
    this.#kubeconfig = kubeconfig;
    this.#config = loadConfig(kubeconfig);
  }

  /** Rejects when the credentials could not be read even once; later failures leave the former ones in use. */
  current(): Promise<Access> {
    if (this.#access === undefined || Date.now() > this.#reloadAt) this.#access = this.#load(this.#access);
    return this.#access;
  }

  /**
   * To be called after a 401: false when the credentials were read a moment ago, so that reading again is no use, or
   * cannot be read now, as in the middle of their rotation.
   */
  refresh(): boolean {
    if (Date.now() < this.#reloadAt - RELOAD_MS + 1000) return false;
    try {
      this.#config = loadConfig(this.#kubeconfig);
    } catch {
      return false;
    }
    this.#reloadAt = 0;
    return true;
  }

  /**
   * To be called when a call got no answer in time: the machine at the other end may have gone without a word, and then
   * each idle connection to it would cost one more call its whole deadline.
   */
  dropIdleConnections(): void {
    for (const pool of this.#allPools()) {
      for (const socket of Object.values(pool.freeSockets).flatMap((sockets) => sockets ?? [])) socket.destroy();
    }
  }

  close(): void {
    for (const pool of this.#allPools()) pool.destroy();
  }

  #allPools(): Set<HttpAgent> {
    return new Set(this.#pools === undefined ? [] : [this.#pools.calls, this.#pools.watches]);
  }

  async #load(before: Promise<Access> | undefined): Promise<Access> {
    this.#reloadAt = Date.now() + RELOAD_MS;
    try {
      // An exec plugin or OIDC keeps its own cache of tokens inside the KubeConfig; starting it each minute is costly.
      if (!this.#cachesTokens()) this.#config = loadConfig(this.#kubeconfig);
      return await this.#read();
    } catch (error) {
      this.#reloadAt = Date.now() + RELOAD_RETRY_MS;
      if (before === undefined) {
        this.#access = undefined;
        throw error;
      }
      return before;
    }
  }

  async #read(): Promise<Access> {
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    const server = new URL(this.#config.getCurrentCluster()?.server ?? '');
    const headers = Object.entries(options.headers ?? {}).map(([name, value]) => [name, String(value).trim()]);
    return {
      server,
      headers: Object.fromEntries(headers) as Record<string, string>,
      pools: this.#poolsFor(server, options),
      ...(typeof options.auth === 'string' && { auth: options.auth }),
    };
  }

  #cachesTokens(): boolean {
    const user = this.#config.getCurrentUser();
    return Boolean(user?.exec) || (Boolean(user?.authProvider) && user?.authProvider?.name !== 'tokenFile');
  }

  #poolsFor(server: URL, options: RequestOptions): Pools {
    const { ca, cert, key, servername, rejectUnauthorized } = options;
    const proxy = this.#config.getCurrentCluster()?.proxyUrl;
    const poolsKey = createHash('sha256')
      .update(JSON.stringify([server.origin, proxy, ca, cert, key, servername, rejectUnauthorized].map(asText)))
      .digest('hex');
    if (this.#pools !== undefined && poolsKey === this.#poolsKey) return this.#pools;
    const pool = { keepAlive: true, keepAliveMsecs: 15_000, timeout: IDLE_CONNECTION_MS };
    const tls = Object.fromEntries(
      Object.entries({ ca, cert, key, servername, rejectUnauthorized }).filter(([, value]) => value !== undefined),
    );
    const create = (maxSockets: number) =>
      server.protocol === 'http:'
        ? new HttpAgent({ ...pool, maxSockets })
        : new HttpsAgent({ ...pool, ...tls, maxSockets });
    const toProxy = proxy ? (options.agent as HttpAgent) : undefined;
    this.#poolsKey = poolsKey;
    this.#pools = { calls: toProxy ?? create(MAX_CONNECTIONS), watches: toProxy ?? create(Infinity) };
    return this.#pools;
  }
}

/**
 * In this order: the kubeconfig that is named, or KUBECONFIG; the service account of the pod we run in; ~/.kube/config.
 */
function loadConfig(kubeconfig: string | undefined): KubeConfig {
  const config = new KubeConfig();
  const named = kubeconfig ?? (process.env['KUBECONFIG'] || undefined);
  const inCluster = process.env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(SERVICE_ACCOUNT_TOKEN);
  const own = resolve(process.env['HOME'] ?? '/', '.kube/config');
  if (named !== undefined) {
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
    addTokenFile(config, kubeconfig === undefined ? named.split(delimiter) : [kubeconfig]);
  } else if (inCluster) {
    config.loadFromCluster();
  } else if (existsSync(own)) {
    config.loadFromFile(own);
    addTokenFile(config, [own]);
  } else {
    throw new Error(
      `no access to a cluster: KUBECONFIG is not set, there is no service account at ${SERVICE_ACCOUNT_TOKEN} and no ${own}; ` +
        'name a kubeconfig file in KUBECONFIG',
    );
  }
  if (!config.getCurrentCluster()?.server) {
    throw new Error(
      `kubeconfig ${named ?? own}: the current context ${JSON.stringify(config.getCurrentContext() ?? '')} names no cluster ` +
        'with a server; run kubectl config use-context',
    );
  }
  return config;
}

/** client-node does not know `tokenFile` of a user, which client-go reads, and prefers to `token`. */
function addTokenFile(config: KubeConfig, files: string[]): void {
  const user = config.getCurrentUser();
  for (const file of files.filter((file) => user !== null && existsSync(file))) {
    const { users } = (parse(readFileSync(file, 'utf8')) ?? {}) as {
      users?: { name: string; user?: { tokenFile?: string } }[];
    };
    const tokenFile = users?.find(({ name }) => name === user?.name)?.user?.tokenFile;
    if (tokenFile === undefined) continue;
    const absolute = resolve(dirname(file), tokenFile);
    Object.assign(user ?? {}, {
      token: undefined,
      authProvider: { name: 'tokenFile', config: { tokenFile: absolute } },
    });
  }
}

function asText(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString('base64') : String(value);
}
