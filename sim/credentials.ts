import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';

/** Who talks to the simulated API server with a static token, and as which user and group. */
const USERS = {
  admin: { user: 'admin', group: 'system:masters' },
  'kube-controller-manager': { user: 'system:kube-controller-manager', group: '' },
  'kube-scheduler': { user: 'system:kube-scheduler', group: '' },
  kwok: { user: 'kwok', group: 'system:masters' },
} as const;

export type StaticUser = keyof typeof USERS;

export interface Credentials {
  /** Static tokens by user. */
  readonly tokens: Readonly<Record<StaticUser, string>>;
  /** For `--token-auth-file`. */
  readonly tokenFile: string;
  /** Private key that signs service account tokens. */
  readonly serviceAccountKeyFile: string;
}

/** Tokens and keys in `<folder>/pki`, made once: a control plane started again on the same folder keeps them. */
export function prepareCredentials(folder: string): Credentials {
  const pki = join(folder, 'pki');
  mkdirSync(pki, { recursive: true, mode: 0o700 });
  const users = Object.keys(USERS) as StaticUser[];

  const tokens = Object.fromEntries(
    users.map((name) => [name, keep(join(pki, `${name}.token`), () => randomBytes(24).toString('hex'))]),
  ) as Record<StaticUser, string>;

  const tokenFile = join(pki, 'tokens.csv');
  const rows = users.map((name) => {
    const { user, group } = USERS[name];
    return `${tokens[name]},${user},${name}${group === '' ? '' : `,"${group}"`}`;
  });
  writeFileSync(tokenFile, `${rows.join('\n')}\n`, { mode: 0o600 });

  const serviceAccountKeyFile = join(pki, 'service-accounts.key');
  keep(serviceAccountKeyFile, () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
  );
  return { tokens, tokenFile, serviceAccountKeyFile };
}

export interface KubeconfigOptions {
  /** Name of the user, and of the file. */
  readonly name: string;
  /** The token itself, or a file that is read again as it rotates. */
  readonly token?: string;
  readonly tokenFile?: string;
}

/** Writes `<folder>/kubeconfigs/<name>.kubeconfig` and returns its path. */
export function writeKubeconfig(
  folder: string,
  server: { url: string; caFile: string },
  options: KubeconfigOptions,
): string {
  const { name, token, tokenFile } = options;
  if ((token === undefined) === (tokenFile === undefined)) {
    throw new Error(`kubeconfig ${name}: give either token or tokenFile`);
  }
  const path = join(folder, 'kubeconfigs', `${name}.kubeconfig`);
  mkdirSync(join(folder, 'kubeconfigs'), { recursive: true, mode: 0o700 });
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'sim', cluster: { server: server.url, 'certificate-authority': server.caFile } }],
    users: [{ name, user: token === undefined ? { tokenFile } : { token } }],
    contexts: [{ name: 'sim', context: { cluster: 'sim', user: name } }],
    'current-context': 'sim',
  };
  writeFileSync(path, stringify(config), { mode: 0o600 });
  return path;
}

function keep(file: string, make: () => string): string {
  if (!existsSync(file)) writeFileSync(file, make(), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}
