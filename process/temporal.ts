import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { ConnectionLike } from '@temporalio/client';
import { explainTemporal, type TemporalEndpoint } from './temporal-trouble.ts';
import { keepChecking, waitFor, type Watchdogs } from './surroundings.ts';

const CALL_MS = 5_000;
const CHECK_EVERY_MS = 10_000;
const PART = 'Temporal';

type ConnectionOptions = ReturnType<typeof loadClientConnectConfig>['connectionOptions'];

/** Where Temporal is, as TEMPORAL_* say. */
export interface TemporalSettings extends TemporalEndpoint {
  readonly connectionOptions: ConnectionOptions & { address: string };
}

/**
 * Reads TEMPORAL_*, as the `temporal` CLI does.
 * @throws Error that names what is wrong: a file that cannot be read, a profile that is not there
 */
export function readTemporalSettings(): TemporalSettings {
  try {
    const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
    const { address = 'localhost:7233', tls } = connectionOptions;
    const own = typeof tls === 'object' ? tls : undefined;
    return {
      address,
      namespace,
      tls: tls === true || own !== undefined,
      ...(own?.serverRootCACertificate ? { ca: Buffer.from(own.serverRootCACertificate) } : {}),
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

/**
 * Waits for Temporal and for our namespace there, and goes on watching both: the log and `/readyz` tell when it goes and
 * comes. `connect` is repeated as long as it fails. Rejects only with the signal's reason.
 */
export async function connectToTemporal<Connection extends ConnectionLike>(
  settings: TemporalSettings,
  connect: () => Promise<Connection>,
  watchdogs: Watchdogs,
): Promise<Connection> {
  const explain = (error: unknown) => explainTemporal(error, settings);
  let open: Connection | undefined;
  const ask = async () => {
    open ??= await connect();
    const { workflowService } = open;
    await open.withDeadline(Date.now() + CALL_MS, () =>
      workflowService.describeNamespace({ namespace: settings.namespace }),
    );
    return open;
  };
  const connection = await waitFor(PART, ask, explain, watchdogs);
  void keepChecking(
    {
      part: PART,
      everyMs: CHECK_EVERY_MS,
      ask: () =>
        ask().then(
          () => undefined,
          async (error) =>
            `${await explain(error)}; until it does, nothing is started and nodes in hand stay as they are`,
        ),
    },
    watchdogs,
  );
  return connection;
}
