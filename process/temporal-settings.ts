import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { TemporalEndpoint } from './temporal-trouble.ts';

const API_KEY_FILE = 'TEMPORAL_API_KEY_FILE';

type ConnectionOptions = ReturnType<typeof loadClientConnectConfig>['connectionOptions'];

/** Where Temporal is and by what we are known to it, as TEMPORAL_* and the files that they name say. */
export interface TemporalSettings extends TemporalEndpoint {
  readonly connectionOptions: ConnectionOptions & { address: string };
}

/**
 * Reads TEMPORAL_*, as the `temporal` CLI does, and the files that they name; TEMPORAL_API_KEY_FILE is ours, for a key
 * that is mounted from a Secret and renewed there.
 * @throws Error that names what is wrong: a file that cannot be read, a certificate without its key, a profile that is not there
 */
export function readTemporalSettings(env: NodeJS.ProcessEnv = process.env): TemporalSettings {
  try {
    const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({ overrideEnvVars: withApiKey(env) });
    const { address = 'localhost:7233', tls } = connectionOptions;
    const own = typeof tls === 'object' ? tls : undefined;
    const ca = own?.serverRootCACertificate;
    const pair = own?.clientCertPair;
    // In the middle of a rotation the two files may be of two pairs, which nothing else tells before they are used.
    createSecureContext({
      ...(ca ? { ca: Buffer.from(ca) } : {}),
      ...(pair ? { cert: Buffer.from(pair.crt), key: Buffer.from(pair.key) } : {}),
    });
    return {
      address,
      namespace,
      tls: tls === true || own !== undefined,
      ...(ca ? { ca: Buffer.from(ca) } : {}),
      ...(own?.serverNameOverride ? { serverName: own.serverNameOverride } : {}),
      connectionOptions: { ...connectionOptions, address },
    };
  } catch (error) {
    throw new Error(
      `wrong environment: TEMPORAL_* cannot be used (${(error as Error).message}); check the files and the profile that they name`,
      { cause: error },
    );
  }
}

function withApiKey(env: NodeJS.ProcessEnv): Record<string, string> {
  const set = Object.entries(env).filter((entry): entry is [string, string] => (entry[1] ?? '') !== '');
  const file = env[API_KEY_FILE];
  if (!file) return Object.fromEntries(set);
  if (env['TEMPORAL_API_KEY'])
    throw new Error(`TEMPORAL_API_KEY and ${API_KEY_FILE} are both set: leave one of them out`);
  const apiKey = readFileSync(file, 'utf8').trim();
  if (apiKey === '') throw new Error(`${API_KEY_FILE}=${file} is empty`);
  return { ...Object.fromEntries(set), TEMPORAL_API_KEY: apiKey };
}

/** What has changed between two readings: nothing, the API key alone, or what needs another connection. */
export function changeOf(before: TemporalSettings, now: TemporalSettings): 'nothing' | 'apiKey' | 'connection' {
  const [old, fresh] = [before.connectionOptions, now.connectionOptions];
  if (digest({ ...old, apiKey: undefined }) !== digest({ ...fresh, apiKey: undefined })) return 'connection';
  if (old.apiKey === fresh.apiKey) return 'nothing';
  return old.apiKey === undefined || fresh.apiKey === undefined ? 'connection' : 'apiKey';
}

const digest = (options: object) =>
  createHash('sha256')
    .update(
      JSON.stringify(options, (_key, value: unknown) =>
        value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value,
      ),
    )
    .digest('hex');
