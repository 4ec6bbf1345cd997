import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { readSettings } from '../../api/schemas/settings.ts';
import { readCheckSettings } from '../../check/settings.ts';
import { readTemporalSettings } from '../../process/temporal.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { selfSigned } from '../agent/self-signed.ts';
import { readUninstallSettings } from '../../uninstall/settings.ts';
import { containerOf, HELM_BUILD_MS, NAMESPACE, PROFILES, pods, render, ROOT, type Manifest } from './chart.ts';

type Environment = Record<string, string>;
type Program = 'watcher' | 'worker' | 'check' | 'uninstall';

const PROGRAMS: readonly Program[] = ['watcher', 'worker'];
const CLUSTER_IP = '10.96.0.7';

/** The variables that a kubelet sets for the ports of a Service. */
function serviceLinks({ metadata, spec }: Manifest, address: string): Environment {
  const prefix = metadata.name.toUpperCase().replaceAll('-', '_');
  const ports = spec?.['ports'] as { name: string; port: number }[];
  return {
    [`${prefix}_SERVICE_HOST`]: address,
    ...Object.fromEntries(
      ports.map(({ name, port }) => [
        `${prefix}_SERVICE_PORT_${name.toUpperCase().replaceAll('-', '_')}`,
        String(port),
      ]),
    ),
  };
}

/** The environment that the kubelet makes of a container's: `$(NAME)` that is not known stays as it is. */
function environment(objects: readonly Manifest[], program: Program, links: Environment = {}): Environment {
  const { env = [] } = containerOf(objects, `kairos-${program}`);
  const known: Environment = { ...links };
  for (const { name, value, valueFrom } of env) {
    const given = value ?? (valueFrom?.fieldRef === undefined ? 'not known' : `${program}-7d4b9`);
    known[name] = given.replaceAll(/\$\((\w+)\)/g, (whole, variable: string) => known[variable] ?? whole);
  }
  return known;
}

/** The files of Secrets that are mounted into a program, by their path: name and key of the Secret. */
function mountedFiles(objects: readonly Manifest[], program: Program): Readonly<Record<string, string | undefined>> {
  const volumes = pods(objects).get(`kairos-${program}`)?.['volumes'] as {
    name: string;
    secret: { secretName: string; items: { key: string; path: string }[] };
  }[];
  const files = (containerOf(objects, `kairos-${program}`).volumeMounts ?? []).flatMap(({ name, mountPath }) => {
    const secret = volumes.find((volume) => volume.name === name)?.secret;
    return (secret?.items ?? []).map(({ key, path: file }) => [`${mountPath}/${file}`, `${secret?.secretName} ${key}`]);
  });
  return Object.fromEntries(files) as Record<string, string>;
}

const client = selfSigned();
/** What the Secrets of the tests hold. */
const SECRETS: Readonly<Record<string, string>> = {
  'temporal-ca ca.crt': selfSigned().cert,
  'temporal-client tls.crt': client.cert,
  'temporal-client tls.key': client.key,
  'temporal-api-key key': 'the API key',
};

/** The environment with the files that are mounted from Secrets laid out in this folder instead. */
function mountedHere(objects: readonly Manifest[], program: Program, env: Environment): Environment {
  const mounted = mountedFiles(objects, program);
  const entries = Object.entries(env).map(([name, value]) => {
    const secret = mounted[value];
    if (secret === undefined) return [name, value];
    const file = path.join(folder, secret.replace(' ', '-'));
    writeFileSync(file, SECRETS[secret] ?? '');
    return [name, file];
  });
  return Object.fromEntries(entries) as Environment;
}

const before = { ...process.env };
let folder: string;

// Helm takes seconds on a busy machine, and some tests run it twice.
jest.setTimeout(30_000);

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-chart-settings-'));
  await resolveTool('helm');
}, HELM_BUILD_MS);
afterEach(() => {
  process.env = { ...before };
});
afterAll(() => rmSync(folder, { recursive: true }));

async function settingsIn(profile: string, program: Program, address = CLUSTER_IP) {
  const objects = await render(PROFILES[profile] ?? {});
  const services = objects.filter(({ kind }) => kind === 'Service');
  const links = Object.assign({}, ...services.map((service) => serviceLinks(service, address))) as Environment;
  const env = environment(objects, program, links);
  process.env = { HOME: folder, ...mountedHere(objects, program, env) };
  return { env, settings: readSettings(env, 1), temporal: readTemporalSettings() };
}

describe.each(PROGRAMS)('the %s', (program) => {
  it.each(Object.keys(PROFILES).filter((name) => name !== 'external, TLS'))(
    'is started with settings that it takes: %s',
    async (profile) => {
      const { settings, temporal } = await settingsIn(
        profile,
        program,
        profile.includes('IPv6') ? 'fd00::7' : undefined,
      );
      expect(settings).toMatchObject({ namespace: NAMESPACE, identity: `${program}-7d4b9`, healthPort: 8081 });
      expect(temporal.address).toBe(
        {
          'embedded, IPv6, without a volume': '[fd00::7]:7233',
          external: 'temporal.example.com:7233',
          'external, scraped by pods': '10.0.7.7',
          'external, API key': 'kairos.a1b2c.tmprl.cloud:7233',
        }[profile] ?? `${CLUSTER_IP}:7233`,
      );
    },
  );

  it('takes cluster name, namespaces and log level', async () => {
    expect((await settingsIn('embedded, air gap', program)).settings).toEqual({
      clusterName: 'edge-7.berlin',
      namespace: NAMESPACE,
      namespaces: [NAMESPACE, 'fleet'],
      identity: `${program}-7d4b9`,
      logLevel: 'debug',
      healthPort: 8081,
    });
  });

  it('ends when it was started before its Service was known, to be started again', async () => {
    const env = environment(await render(PROFILES['embedded'] ?? {}), program);
    expect(() => readSettings(env, 1)).toThrow(/TEMPORAL_ADDRESS=\$\(KAIROS_TEMPORAL_SERVICE_HOST\).*host:port/);
  });

  it('has the API key as a file of its Secret, which a new key reaches, and not in its environment', async () => {
    const { env, temporal } = await settingsIn('external, API key', program);
    expect(temporal).toMatchObject({ namespace: 'kairos.a1b2c', tls: true });
    expect(temporal.connectionOptions).toMatchObject({ apiKey: 'the API key' });
    const objects = await render(PROFILES['external, API key'] ?? {});
    expect(mountedFiles(objects, program)[env['TEMPORAL_API_KEY_FILE'] ?? '']).toBe('temporal-api-key key');
    expect(JSON.stringify(containerOf(objects, `kairos-${program}`))).not.toContain('secretKeyRef');
  });

  it('finds the namespace that the chart of Temporal makes', async () => {
    const { temporal } = await settingsIn('chart of Temporal, PostgreSQL', program);
    expect(temporal.namespace).toBe('kairos');
    const other = await settingsIn('chart of Temporal, PostgreSQL in a folder, Secret and peers of ours', program);
    expect(other.temporal.namespace).toBe('edge');
  }, 30_000);

  it('uses the certificates of its Secrets, which are mounted where its settings look', async () => {
    const { temporal } = await settingsIn('external, TLS', program);
    const { tls, serverName, ca, connectionOptions } = temporal;
    const { clientCertPair } = connectionOptions.tls as { clientCertPair: { crt: Uint8Array; key: Uint8Array } };
    const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString();
    expect({ tls, serverName, ca: text(ca) }).toEqual({
      tls: true,
      serverName: 'temporal',
      ca: SECRETS['temporal-ca ca.crt'],
    });
    expect([clientCertPair.crt, clientCertPair.key].map(text)).toEqual([
      SECRETS['temporal-client tls.crt'],
      SECRETS['temporal-client tls.key'],
    ]);
  });
});

describe('the hooks', () => {
  const environmentOf = async (program: Program) => {
    const values = {
      ...PROFILES['external'],
      check: { timeout: '90s' },
      uninstallGuard: { timeout: '1h30m', heldNodes: 'give-back' },
    };
    return environment(await render(values), program);
  };

  it('are started with settings that their programs take', async () => {
    const settings = { namespace: NAMESPACE, clusterName: 'kairos', logLevel: 'info' };
    const check = readCheckSettings(await environmentOf('check'), 1);
    expect(check).toMatchObject({ ...settings, timeoutMs: 90_000 });
    const uninstall = readUninstallSettings(await environmentOf('uninstall'), 1);
    expect(uninstall).toMatchObject({ ...settings, timeoutMs: 5_400_000, heldNodes: 'give-back' });
  });
});

describe('the embedded Temporal', () => {
  it('is tuned as the one that everything is tested with', async () => {
    const args = containerOf(await render(PROFILES['embedded'] ?? {}), 'kairos-temporal').args ?? [];
    const sim = readFileSync(path.join(ROOT, 'sim', 'temporal-server.ts'), 'utf8');
    const tested = [...sim.matchAll(/^ +'(history\.\w+=\d+)',$/gm)].map(([, setting]) => setting);
    const pragmas = [...(/const PRAGMAS = \[(.*)\]/.exec(sim)?.[1] ?? '').matchAll(/'([^']+)'/g)].map(([, one]) => one);
    expect({ settings: tested.length, pragmas: pragmas.length }).toEqual({ settings: 5, pragmas: 2 });
    const given = (flag: string) =>
      args.flatMap((arg) => (arg.startsWith(`--${flag}=`) ? [arg.slice(flag.length + 3)] : []));
    expect(given('dynamic-config-value')).toEqual(tested);
    expect(given('sqlite-pragma')).toEqual(pragmas);
  });

  it('is not there beside an external one', async () => {
    const objects = await render(PROFILES['external'] ?? {});
    expect(objects.filter(({ metadata }) => metadata.name.startsWith('kairos-temporal'))).toEqual([]);
  });
});

describe.each(['kairos-watcher', 'kairos-worker', 'kairos-temporal', 'kairos-temporal-web'])(
  'the pods of %s',
  (owner) => {
    it('are never kept out by a cordon of ours, and leave a dead node after five minutes', async () => {
      const pod = pods(await render(PROFILES['embedded, air gap'] ?? {})).get(owner);
      const seconds = (key: string) => {
        const tolerations = (pod?.['tolerations'] ?? []) as {
          key: string;
          operator: string;
          tolerationSeconds?: number;
        }[];
        const found = tolerations.find((toleration) => toleration.key === key && toleration.operator === 'Exists');
        return found === undefined ? 'not tolerated' : (found.tolerationSeconds ?? 'for ever');
      };
      expect({
        cordoned: seconds('node.kubernetes.io/unschedulable'),
        controlPlane: seconds('node-role.kubernetes.io/control-plane'),
        notReady: seconds('node.kubernetes.io/not-ready'),
        unreachable: seconds('node.kubernetes.io/unreachable'),
        asked: seconds('edge'),
      }).toEqual({
        cordoned: 'for ever',
        controlPlane: 'for ever',
        notReady: 300,
        unreachable: 300,
        asked: 'for ever',
      });
    });
  },
);
