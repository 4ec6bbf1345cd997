import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { resolveTool } from '../../tools/resolve.ts';
import {
  copyWithTemporalChart,
  HELM_BUILD_MS,
  helm,
  manifests,
  NAMESPACE,
  PROFILES,
  renderText,
  run,
} from './chart.ts';

const EMBEDDED = PROFILES['embedded'] ?? {};
const CRD = 'nodeopupgrades.operator.kairos.io';

let folder: string;
let cluster: ControlPlane;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-chart-cluster-'));
  await Promise.all([resolveTool('helm'), resolveTool('kubectl')]);
  cluster = await startControlPlane({ folder });
  await kubectl('create', 'namespace', NAMESPACE);
  // Deployments are not refused for their pods: the API server warns of them.
  await kubectl('label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/warn=restricted');
}, HELM_BUILD_MS);

afterAll(async () => {
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What it printed; throws with what it complained of. */
async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run('kubectl', `--kubeconfig=${cluster.adminKubeconfig}`, ...args);
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
}

const inCluster = (verb: readonly string[], values: Record<string, unknown>, ...args: string[]) =>
  helm(verb, values, `--kubeconfig=${cluster.adminKubeconfig}`, ...args);

describe('the API server takes every object of the chart, and warns of nothing:', () => {
  beforeAll(async () => {
    await kubectl('create', 'namespace', 'fleet');
    await kubectl('create', 'namespace', 'kairos-agent');
  });
  // The release makes it.
  afterAll(() => kubectl('delete', 'namespace', 'kairos-agent'), 60_000);

  it.each(Object.entries(PROFILES))(
    '%s',
    async (profile, values) => {
      const text = await renderText(values);
      const file = path.join(folder, 'rendered.yaml');
      // The test's API server has addresses of IPv4 only.
      writeFileSync(file, profile.includes('IPv6') ? text.replace('ipFamilies: [IPv6]', 'ipFamilies: [IPv4]') : text);
      const applied = await run(
        'kubectl',
        `--kubeconfig=${cluster.adminKubeconfig}`,
        'apply',
        '--server-side',
        '--dry-run=server',
        `--filename=${file}`,
      );
      expect({ code: applied.code, warnings: applied.stderr }).toEqual({ code: 0, warnings: '' });
      const lines = applied.stdout.trim().split('\n');
      expect(lines.filter((line) => line.endsWith('(server dry run)')).length).toBe(manifests(text).length);
    },
    30_000,
  );

  it('warns of a pod that asks for more', async () => {
    const pod = ['run', 'root', '--image=busybox', '--privileged', '--dry-run=server', `--namespace=${NAMESPACE}`];
    const { stderr } = await run('kubectl', `--kubeconfig=${cluster.adminKubeconfig}`, ...pod);
    expect(stderr).toContain('would violate PodSecurity "restricted:latest"');
  });
});

describe('a release', () => {
  const columns = async () => {
    const names = 'jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}';
    return (await kubectl('get', 'crd', CRD, '-o', names)).split(' ');
  };
  const values = { ...EMBEDDED, namespaces: ['fleet'] };
  const install = (...args: string[]) => inCluster(['install', 'kairos-operator'], values, ...args);

  it('is refused where no StorageClass is the default, with what to set', async () => {
    const { code, stderr } = await install();
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /no default StorageClass .* set embeddedTemporal\.persistence\.storageClass .* or embeddedTemporal\.persistence\.enabled=false/,
      ) as unknown,
    });
    const without = { ...values, embeddedTemporal: { persistence: { enabled: false } } };
    const dryRun = ['install', 'kairos-operator', '--dry-run=server'];
    const forgetful = await inCluster(dryRun, without);
    expect(forgetful).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('and forgets with its pod') as unknown,
    });
    const external = await inCluster(dryRun, PROFILES['external'] ?? {});
    const words = 'It uses the Temporal at temporal.example.com:7233, namespace kairos.';
    expect(external).toMatchObject({ code: 0, stdout: expect.stringContaining(words) as unknown });
  }, 30_000);

  it('is installed with the definitions that its chart has, and upgrades them', async () => {
    const storage = {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'local', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'kubernetes.io/no-provisioner',
    };
    const file = path.join(folder, 'storage.json');
    writeFileSync(file, JSON.stringify(storage));
    await kubectl('create', '-f', file);

    const [older, newer] = ['older', 'newer'].map((name) => {
      mkdirSync(path.join(folder, name));
      return copyWithTemporalChart(path.join(folder, name));
    }) as [string, string];
    const crdFile = path.join(older, 'files', 'crds', 'operator.kairos.io_nodeopupgrades.yaml');
    const crd = readFileSync(crdFile, 'utf8');
    const withoutColumn = crd.replace(/ +- name: Version\n(?: {10,}.*\n)+/, '');
    expect(withoutColumn.length).toBeLessThan(crd.length);
    writeFileSync(crdFile, withoutColumn);

    const valuesFile = path.join(folder, 'values.json');
    writeFileSync(valuesFile, JSON.stringify(values));
    const common = [`--kubeconfig=${cluster.adminKubeconfig}`, `--namespace=${NAMESPACE}`, `--values=${valuesFile}`];
    const installed = await run('helm', 'install', 'kairos-operator', older, ...common);
    expect(installed).toMatchObject({ code: 0, stderr: '' });
    for (const command of [
      `kubectl rollout status -n ${NAMESPACE} deployment/kairos-watcher`,
      'kubectl get kairosnodes',
      'kubectl apply -f - <<EOF',
      'NodeOpUpgrades are carried out in fleet, too.',
    ])
      expect(installed.stdout).toContain(command);
    expect(await columns()).not.toContain('Version');

    expect(await run('helm', 'upgrade', 'kairos-operator', newer, ...common)).toMatchObject({ code: 0, stderr: '' });
    expect(await columns()).toContain('Version');
  }, 60_000);

  it('gives the accounts what they need, in the namespaces that it lists', async () => {
    const mayI = (account: string, verb: string, resource: string, namespace: string) =>
      run(
        'kubectl',
        `--kubeconfig=${cluster.adminKubeconfig}`,
        'auth',
        'can-i',
        verb,
        resource,
        `--namespace=${namespace}`,
        `--as=system:serviceaccount:${NAMESPACE}:kairos-${account}`,
      ).then(({ stdout }) => stdout.trim());
    expect(await mayI('worker', 'create', 'jobs.batch', 'fleet')).toBe('yes');
    expect(await mayI('worker', 'create', 'jobs.batch', 'default')).toBe('no');
    expect(await mayI('watcher', 'update', 'leases.coordination.k8s.io', NAMESPACE)).toBe('yes');
    expect(await mayI('watcher', 'update', 'leases.coordination.k8s.io', 'fleet')).toBe('no');
    expect(await mayI('temporal', 'list', 'pods', NAMESPACE)).toBe('no');
  }, 30_000);

  it('takes along all but the definitions and the volume when it is uninstalled, and can be installed again', async () => {
    const common = [`--kubeconfig=${cluster.adminKubeconfig}`, `--namespace=${NAMESPACE}`];
    const uninstalled = await run('helm', 'uninstall', 'kairos-operator', '--wait', ...common);
    expect(uninstalled.code).toBe(0);
    const kinds = 'clusterroles,clusterrolebindings,namespaces,customresourcedefinitions';
    const left = await kubectl('get', kinds, '-l', 'app.kubernetes.io/part-of=kairos-operator', '-o', 'name');
    expect(left.split('\n')).toEqual(
      ['kairosnodes.kairos.io', CRD].map((name) => `customresourcedefinition.apiextensions.k8s.io/${name}`),
    );
    expect(await install()).toMatchObject({ code: 0 });
  }, 60_000);
});
