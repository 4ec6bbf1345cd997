import { connect as connectPlain } from 'node:net';
import { connect as connectTLS, type ConnectionOptions } from 'node:tls';

/** What is known of a connection to Temporal that does not work. */
export interface TemporalEndpoint {
  /** host:port. */
  readonly address: string;
  readonly namespace: string;
  /** Whether we speak TLS. */
  readonly tls: boolean;
  /** PEM of the authority, where another than the system's is trusted. */
  readonly ca?: Buffer;
  readonly serverName?: string;
}

const PROBE_MS = 3_000;

/**
 * Why Temporal does not answer, and what to do. What the gRPC libraries say is often no more than "deadline exceeded",
 * so the port itself is asked: whether somebody listens, whether TLS is spoken, whether its certificate is trusted.
 */
export async function explainTemporal(error: unknown, endpoint: TemporalEndpoint): Promise<string> {
  const { address, namespace } = endpoint;
  const { code, message } = error as { code?: unknown; message?: string };
  const text = message ?? String(error);
  switch (code) {
    case 5:
      return `Temporal at ${address} has no namespace ${namespace}: create it with "temporal operator namespace create --address ${address} --namespace ${namespace}", or set TEMPORAL_NAMESPACE to the one that was made for this cluster`;
    case 7:
      return `Temporal at ${address} does not let us use the namespace ${namespace} (${text}): check the rights of the API key in TEMPORAL_API_KEY or TEMPORAL_API_KEY_FILE, or of the client certificate`;
    case 16:
      return `Temporal at ${address} does not know us (${text}): check TEMPORAL_API_KEY or the file that TEMPORAL_API_KEY_FILE names, or TEMPORAL_TLS_CLIENT_CERT_PATH and its key`;
    default:
      return `Temporal at ${address} does not answer: ${(await troubleOf(endpoint)) ?? `something listens there, but does not answer as Temporal does (${text}); it may be starting, or its database may be away: look at its log`}`;
  }
}

async function troubleOf(endpoint: TemporalEndpoint): Promise<string | undefined> {
  const { host, port } = partsOf(endpoint.address);
  const plain = await attempt((done) => connectPlain({ host, port }, done));
  if (plain.error !== undefined) return reachText(plain.error, host);
  const trusting = await attempt((done) => connectTLS(tlsOptions(endpoint, { rejectUnauthorized: false }), done));
  const speaksTLS = trusting.error === undefined || isAlert(trusting.error);
  if (!endpoint.tls) {
    return speaksTLS
      ? 'it speaks TLS, and we do not: set TEMPORAL_TLS=true, and TEMPORAL_TLS_SERVER_CA_CERT_PATH where its authority is your own'
      : undefined;
  }
  if (!speaksTLS)
    return 'it speaks plain text, and we speak TLS: leave TEMPORAL_TLS and TEMPORAL_API_KEY unset, or let Temporal serve TLS';
  const strict = await attempt((done) => connectTLS(tlsOptions(endpoint, {}), done));
  if (strict.error === undefined || isAlert(strict.error)) return undefined;
  return `its certificate is not trusted (${codeOf(strict.error)}: ${strict.error.message}): set TEMPORAL_TLS_SERVER_CA_CERT_PATH to its authority, or TEMPORAL_TLS_SERVER_NAME to the name in it`;
}

function tlsOptions({ address, ca, serverName }: TemporalEndpoint, more: ConnectionOptions): ConnectionOptions {
  const { host, port } = partsOf(address);
  const name = serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
  return {
    host,
    port,
    ALPNProtocols: ['h2'],
    ...(name === undefined ? {} : { servername: name }),
    ...(ca === undefined ? {} : { ca }),
    ...more,
  };
}

/** Opens a connection and closes it at once. */
function attempt(
  open: (done: () => void) => ReturnType<typeof connectPlain>,
): Promise<{ error?: NodeJS.ErrnoException }> {
  return new Promise((resolve) => {
    const socket = open(() => end({}));
    const late = Object.assign(new Error(`no answer within ${PROBE_MS / 1000} s`), { code: 'ETIMEDOUT' });
    const timer = setTimeout(() => end({ error: late }), PROBE_MS);
    const end = (result: { error?: NodeJS.ErrnoException }) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    socket.on('error', (error) => end({ error }));
    socket.once('close', () => end({ error: Object.assign(new Error('closed'), { code: 'ECONNRESET' }) }));
  });
}

/** A TLS alert of the other side, such as "certificate required": it does speak TLS. */
const isAlert = (error: NodeJS.ErrnoException) => /alert/i.test(`${error.code} ${error.message}`);

function reachText(error: NodeJS.ErrnoException, host: string): string {
  switch (codeOf(error)) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name ${host} cannot be resolved: check TEMPORAL_ADDRESS; where the cluster's DNS may be down, give the address of the Service`;
    case 'ECONNREFUSED':
      return 'nobody listens there: check that Temporal runs (kubectl get pods, in its namespace) and that TEMPORAL_ADDRESS is right';
    default:
      return `no connection (${codeOf(error)}: ${error.message}): check TEMPORAL_ADDRESS, routes and NetworkPolicies`;
  }
}

/** For a name with several addresses Node gathers one error for each. */
function codeOf(error: NodeJS.ErrnoException): string {
  const [first] = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : [error];
  return first?.code ?? error.code ?? error.name;
}

function partsOf(address: string): { host: string; port: number } {
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(address);
  return { host: found?.[1] ?? found?.[2] ?? address, port: Number(found?.[3] ?? 7233) };
}
