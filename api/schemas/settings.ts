import { z } from 'zod';

const schema = z.object({
  KAIROS_CLUSTER_NAME: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$/, 'lower-case letters, digits, - and ., at most 63')
    .default('kairos'),
  KAIROS_NAMESPACE: z.string().min(1).default('kairos-system'),
  KAIROS_NAMESPACES: z.string().optional(),
  POD_NAME: z.string().min(1).optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
});

/** What watcher and worker are told by their environment. The Temporal connection is told by TEMPORAL_*, as for its CLI. */
export interface Settings {
  /** Display name of the cluster; its identity is the UID of kube-system. */
  clusterName: string;
  /** The operator's own namespace: Leases, and pods for hand-edited KairosNodes. */
  namespace: string;
  /** The namespaces in which NodeOpUpgrades are carried out; the operator's own is always one of them. */
  namespaces: string[];
  identity: string;
  logLevel: string;
}

/**
 * Reads the settings from an environment.
 * @throws Error naming each wrong variable and what it should be
 */
export function readSettings(env: Record<string, string | undefined>, processId: number): Settings {
  const parsed = schema.safeParse(Object.fromEntries(Object.entries(env).filter(([, value]) => value !== '')));
  if (!parsed.success) {
    const wrong = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`wrong environment: ${wrong.join('; ')}`);
  }
  const { data } = parsed;
  const listed = (data.KAIROS_NAMESPACES ?? '').split(',').map((name) => name.trim());
  return {
    clusterName: data.KAIROS_CLUSTER_NAME,
    namespace: data.KAIROS_NAMESPACE,
    namespaces: [...new Set([data.KAIROS_NAMESPACE, ...listed])].filter((name) => name !== ''),
    identity: data.POD_NAME ?? `process-${processId}`,
    logLevel: data.LOG_LEVEL,
  };
}
