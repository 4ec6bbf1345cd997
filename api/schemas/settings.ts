import { z } from 'zod';

/** RFC 1123, as the API server asks of namespaces. */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_WORDS = 'lower-case letters, digits and -, at most 63';

const namespace = z.string().regex(LABEL, LABEL_WORDS);
const namespaceList = z
  .string()
  .default('')
  .transform((list) => list.split(',').map((name) => name.trim()))
  .transform((names) => names.filter((name) => name !== ''))
  .refine((names) => names.every((name) => LABEL.test(name)), `names of namespaces between commas: ${LABEL_WORDS}`);
const PORT_WORDS = 'a port from 1 to 65535';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

const schema = z.object({
  KAIROS_CLUSTER_NAME: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/, 'lower-case letters, digits, - and ., at most 63')
    .default('kairos'),
  KAIROS_NAMESPACE: namespace.default('kairos-system'),
  KAIROS_NAMESPACES: namespaceList,
  KAIROS_NODE_LEASE_NAMESPACE: namespace.optional(),
  KAIROS_DEFAULTS_FILE: z.string().regex(/^\//, 'an absolute path, such as /etc/kairos/strategy.yaml').optional(),
  KAIROS_PROMETHEUS_FILE: z.string().regex(/^\//, 'an absolute path, such as /etc/kairos/prometheus.yaml').optional(),
  POD_NAME: z.string().min(1).optional(),
  LOG_LEVEL: z.enum(LEVELS, `one of ${LEVELS.join(', ')}`).default('info'),
  HEALTH_PORT: z
    .string()
    .regex(/^\d{1,5}$/, PORT_WORDS)
    .transform(Number)
    .refine((port) => port >= 1 && port <= 65_535, PORT_WORDS)
    .optional(),
  // Of the Temporal CLI's variables, those whose library passes over a mistake in silence.
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s/:[\]]+)(:\d{1,5})?$/, 'host:port, without http://')
    .optional(),
  TEMPORAL_TLS: z.stringbool({ truthy: ['true', '1'], falsy: ['false', '0'], error: 'true or false' }).optional(),
});

/** A certificate without its key, or the other way round, is passed over in silence, too. */
function halfPair(env: Record<string, string | undefined>): string[] {
  const pair = ['TEMPORAL_TLS_CLIENT_CERT_PATH', 'TEMPORAL_TLS_CLIENT_KEY_PATH'];
  const missing = pair.filter((name) => (env[name] ?? '') === '');
  return missing.length === 1 ? [`${missing[0]}: needed, as its other half is set`] : [];
}

/** Which of two keys counts is nothing to guess. */
function twoKeys(env: Record<string, string | undefined>): string[] {
  const set = ['TEMPORAL_API_KEY', 'TEMPORAL_API_KEY_FILE'].filter((name) => (env[name] ?? '') !== '');
  return set.length > 1 ? [`TEMPORAL_API_KEY_FILE: TEMPORAL_API_KEY is set, too; leave one of them out`] : [];
}

/** What watcher and worker are told by their environment. The Temporal connection is told by TEMPORAL_*, as for its CLI. */
export interface Settings {
  /** Display name of the cluster; its identity is the UID of kube-system. */
  clusterName: string;
  /** The operator's own namespace: Leases, and pods for hand-edited KairosNodes. */
  namespace: string;
  /** The namespaces in which NodeOpUpgrades are carried out; the operator's own is always the first of them. */
  namespaces: string[];
  /** Where the Leases on Nodes are that are shared with other tools. Absent: none is looked at, and none taken. */
  nodeLeaseNamespace?: string;
  /** A file with defaults of spec.strategy. Absent: those of this version. Read by the watcher. */
  defaultsFile?: string;
  /** A file with the Prometheus servers that want credentials. Absent: none does. Read by the worker. */
  prometheusFile?: string;
  identity: string;
  logLevel: string;
  /** Where /healthz and /readyz are served; not at all without it. */
  healthPort?: number;
}

/**
 * Reads the settings from an environment.
 * @throws Error naming every wrong variable, its value and what it should be
 */
export function readSettings(env: Record<string, string | undefined>, processId: number): Settings {
  const parsed = schema.safeParse(Object.fromEntries(Object.entries(env).filter(([, value]) => value !== '')));
  const wrong = (parsed.error?.issues ?? []).map(({ path, message }) => {
    const name = path.join('.');
    return `${name}=${(env[name] ?? '').slice(0, 100)}: ${message}`;
  });
  wrong.push(...halfPair(env), ...twoKeys(env));
  if (!parsed.success || wrong.length > 0) throw new Error(`wrong environment: ${wrong.join('; ')}`);
  const { data } = parsed;
  return {
    clusterName: data.KAIROS_CLUSTER_NAME,
    namespace: data.KAIROS_NAMESPACE,
    namespaces: [...new Set([data.KAIROS_NAMESPACE, ...data.KAIROS_NAMESPACES])],
    ...(data.KAIROS_NODE_LEASE_NAMESPACE === undefined ? {} : { nodeLeaseNamespace: data.KAIROS_NODE_LEASE_NAMESPACE }),
    ...(data.KAIROS_DEFAULTS_FILE === undefined ? {} : { defaultsFile: data.KAIROS_DEFAULTS_FILE }),
    ...(data.KAIROS_PROMETHEUS_FILE === undefined ? {} : { prometheusFile: data.KAIROS_PROMETHEUS_FILE }),
    identity: data.POD_NAME ?? `process-${processId}`,
    logLevel: data.LOG_LEVEL,
    ...(data.HEALTH_PORT === undefined ? {} : { healthPort: data.HEALTH_PORT }),
  };
}
