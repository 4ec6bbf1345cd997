import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { endPod } from './kubelet.ts';
import { eventually } from './policies-rig.ts';
import {
  copyWithTemporalChart,
  HELM_BUILD_MS,
  helm,
  isOfTemporalChart,
  manifests,
  NAMESPACE,
  PROFILES,
  renderText,
  run,
} from './chart.ts';

const EMBEDDED = PROFILES['embedded'] ?? {};
const CRD = 'nodeopupgrades.operator.kairos.io';
/** The folder of a node, and the pod of `helm test` of the real chart of Temporal, which cannot be told what to be. */
const EXPECTED_WARNING =
  /would violate PodSecurity "restricted:latest": (restricted volume types \(volume "folder" uses restricted volume type "hostPath"\)$|.*container "cluster-health")/;

let folder: string;
let cluster: ControlPlane;

// Servers, Helm and kubectl take their time on a busy machine.
jest.setTimeout(240_000);

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

/** As the Prometheus Operator has it, of the fields that the chart may write. */
function monitorDefinition(kind: string): object {
  const text = { type: 'string' };
  const endpoint = {
    type: 'object',
    properties: { port: text, path: text, interval: text, scrapeTimeout: text },
  };
  const list = { type: 'array', items: endpoint };
  const selector = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const properties = kind === 'PodMonitor' ? { selector, podMetricsEndpoints: list } : { selector, endpoints: list };
  const spec = { type: 'object', required: Object.keys(properties), properties };
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec } } };
  const plural = `${kind.toLowerCase()}s`;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.monitoring.coreos.com` },
    spec: {
      group: 'monitoring.coreos.com',
      scope: 'Namespaced',
      names: { kind, plural },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
}

const inCluster = (verb: readonly string[], values: Record<string, unknown>, ...args: string[]) =>
  helm(verb, values, `--kubeconfig=${cluster.adminKubeconfig}`, ...args);

describe('the API server takes every object of the chart, and warns of nothing:', () => {
  beforeAll(async () => {
    await kubectl('create', 'namespace', 'fleet');
    await kubectl('create', 'namespace', 'kairos-agent');
    // A pod is refused before its account is there.
    for (const account of ['kairos-check', 'kairos-temporal'])
      await kubectl('create', 'serviceaccount', account, `--namespace=${NAMESPACE}`);
    const definitions = path.join(folder, 'monitors.json');
    const items = [monitorDefinition('ServiceMonitor'), monitorDefinition('PodMonitor')];
    writeFileSync(definitions, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    await kubectl('create', '-f', definitions);
    await kubectl('wait', '--for=condition=Established', '-f', definitions);
  });
  // The release makes them.
  afterAll(async () => {
    await kubectl('delete', 'serviceaccount', 'kairos-check', 'kairos-temporal', `--namespace=${NAMESPACE}`);
    await kubectl('delete', 'namespace', 'kairos-agent');
  });

  it.each(Object.entries(PROFILES))('%s', async (_, values) => {
    const text = await renderText(values);
    const file = path.join(folder, 'rendered.yaml');
    const objects = manifests(text).map((object) => {
      // Temporal's own chart leaves the namespace to Helm.
      if (isOfTemporalChart(object)) object.metadata.namespace ??= NAMESPACE;
      // The test's API server has addresses of IPv4 only.
      if (object.spec?.['ipFamilies'] !== undefined) object.spec['ipFamilies'] = ['IPv4'];
      return object;
    });
    writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
    const applied = await run(
      'kubectl',
      `--kubeconfig=${cluster.adminKubeconfig}`,
      'apply',
      '--server-side',
      '--dry-run=server',
      `--filename=${file}`,
    );
    const warnings = applied.stderr.split('\n').filter((line) => line !== '' && !EXPECTED_WARNING.test(line));
    expect({ code: applied.code, warnings }).toEqual({ code: 0, warnings: [] });
    // A folder of a node is what makes one pod of each database more than restricted.
    const folders = [...text.matchAll(/^ +- name: folder\n +hostPath:/gm)].length;
    expect(applied.stderr.split('\n').filter((line) => line.includes('"hostPath"')).length).toBe(folders);
    const lines = applied.stdout.trim().split('\n');
    expect(lines.filter((line) => line.endsWith('(server dry run)')).length).toBe(manifests(text).length);
  });

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
  });

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
  });

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
  });

  it('holds the admission policies, and the disruption budget in every namespace that it serves', async () => {
    const job = path.join(folder, 'job.json');
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'a', image: 'a' }] } };
    const metadata = { name: 'of-nobody', labels: { 'kairos.io/upgrade-step': 'upgrade' } };
    writeFileSync(job, JSON.stringify({ apiVersion: 'batch/v1', kind: 'Job', metadata, spec: { template } }));
    const create = ['create', '-f', job, '--dry-run=server', '--namespace=fleet'];
    const refused = await eventually('the policies hold', async () => {
      const { stderr } = await run('kubectl', `--kubeconfig=${cluster.adminKubeconfig}`, ...create);
      return stderr.includes('only the worker of kairos-operator makes those') && stderr;
    });
    expect(refused).toContain('leave the label out');
    for (const namespace of [NAMESPACE, 'fleet'])
      await kubectl('get', 'pdb', 'kairos-running-upgrades', '-n', namespace);
  });

  it('is not upgraded to a port of the API server that this one does not have', async () => {
    const slice = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.0.0.1'] }],
      ports: [{ name: 'https', port: 16_443, protocol: 'TCP' }],
    };
    const file = path.join(folder, 'slice.json');
    writeFileSync(file, JSON.stringify(slice));
    await kubectl('create', '-f', file);
    const upgrade = (over: object) =>
      inCluster(['upgrade', 'kairos-operator', '--dry-run=server'], { ...values, ...over });
    expect(await upgrade({})).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        'listens on port 16443, and networkPolicy.apiServerPorts is [443,6443]: add 16443',
      ) as unknown,
    });
    expect(await upgrade({ networkPolicy: { apiServerPorts: [443, 16_443] } })).toMatchObject({ code: 0, stderr: '' });
    await kubectl('delete', '-f', file);
  });

  it('stays where its guard refuses, which Helm says; its rights are not left behind', async () => {
    const common = [`--kubeconfig=${cluster.adminKubeconfig}`, `--namespace=${NAMESPACE}`];
    const uninstalled = run('helm', 'uninstall', 'kairos-operator', '--timeout=60s', ...common);
    const rights = [
      'get',
      'clusterroles,clusterrolebindings',
      '-o',
      'name',
      '-l',
      'app.kubernetes.io/name=kairos-uninstall',
    ];
    await endGuard(1);
    expect(await uninstalled).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/job kairos-uninstall failed: PodFailurePolicy/i) as unknown,
    });
    expect(await kubectl(...rights)).toBe('');
    expect(await kubectl('get', 'deployments', '-n', NAMESPACE, '-o', 'name')).toContain('kairos-worker');
    expect(await kubectl('get', 'job', 'kairos-uninstall', '-n', NAMESPACE, '-o', 'name')).not.toBe('');
  });

  it('takes along all but the definitions and the volume when its guard lets it, and can be installed again', async () => {
    const common = [`--kubeconfig=${cluster.adminKubeconfig}`, `--namespace=${NAMESPACE}`];
    const uninstalled = run('helm', 'uninstall', 'kairos-operator', '--wait', ...common);
    await endGuard(0);
    expect(await uninstalled).toMatchObject({ code: 0 });
    const left = await kubectl('get', CLUSTER_KINDS, '-l', 'app.kubernetes.io/part-of=kairos-operator', '-o', 'name');
    expect(left.split('\n')).toEqual(
      ['kairosnodes.kairos.io', CRD].map((name) => `customresourcedefinition.apiextensions.k8s.io/${name}`),
    );
    const ours = ['-n', NAMESPACE, '-l', 'app.kubernetes.io/part-of=kairos-operator', '-o', 'name'];
    expect(await kubectl('get', NAMESPACED_KINDS, ...ours)).toBe('');
    expect(await install()).toMatchObject({ code: 0 });
  });

  it('is uninstalled without its guard by --no-hooks', async () => {
    const common = [`--kubeconfig=${cluster.adminKubeconfig}`, `--namespace=${NAMESPACE}`];
    expect(await run('helm', 'uninstall', 'kairos-operator', '--no-hooks', '--wait', ...common)).toMatchObject({
      code: 0,
    });
    expect(await kubectl('get', 'deployments', '-n', NAMESPACE, '-o', 'name')).toBe('');
  });

  it('is tested by a pod whose end is the end of helm test', async () => {
    expect(await install()).toMatchObject({ code: 0 });
    const common = [`--kubeconfig=${cluster.adminKubeconfig}`, `--namespace=${NAMESPACE}`];
    const tested = run('helm', 'test', 'kairos-operator', '--timeout=60s', ...common);
    await endPod(kubectl, 'app.kubernetes.io/name=kairos-check', 1, 'no worker');
    expect(await tested).toMatchObject({ code: 1, stdout: expect.stringMatching(/Phase: +Failed/) as unknown });
    const former = await uidOf('kairos-check');
    const again = run('helm', 'test', 'kairos-operator', '--timeout=60s', ...common);
    await endPod(kubectl, 'app.kubernetes.io/name=kairos-check', 0, '', former);
    expect(await again).toMatchObject({ code: 0, stdout: expect.stringMatching(/Phase: +Succeeded/) as unknown });
  });
});

describe('the namespace of the Leases on nodes', () => {
  const common = () => [`--kubeconfig=${cluster.adminKubeconfig}`, `--namespace=${NAMESPACE}`];
  const deploy = async (nodeLeases: object) => {
    const values = { ...EMBEDDED, embeddedTemporal: { persistence: { enabled: false } }, nodeLeases };
    const done = await inCluster(['upgrade', '--install', 'kairos-operator'], values);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    return done.stdout;
  };
  const there = async (namespace: string) => {
    const names = await kubectl('get', 'namespaces', '-o', 'name');
    const roles = names.includes(namespace) ? await kubectl('get', 'roles', '-n', namespace, '-o', 'name') : '';
    return {
      made: names.split('\n').includes(`namespace/${namespace}`),
      roles: roles.split('\n').filter(Boolean).length,
    };
  };

  beforeAll(async () => {
    await run('helm', 'uninstall', 'kairos-operator', '--no-hooks', '--wait', '--ignore-not-found', ...common());
  });

  it('is made where it is missing and that is asked for, and outlives upgrade and uninstall', async () => {
    await deploy({ enabled: 'auto' });
    expect(await there('medik8s-leases')).toEqual({ made: false, roles: 0 });
    for (const _ of ['install', 'upgrade']) {
      expect(await deploy({ enabled: true })).toContain('by the Leases in medik8s-leases');
      expect(await there('medik8s-leases')).toEqual({ made: true, roles: 2 });
    }
    expect(await deploy({ enabled: false })).not.toContain('medik8s');
    expect(await there('medik8s-leases')).toEqual({ made: true, roles: 0 });
    await deploy({ enabled: 'auto' });
    expect(await there('medik8s-leases')).toEqual({ made: true, roles: 2 });
    expect(await run('helm', 'uninstall', 'kairos-operator', '--no-hooks', '--wait', ...common())).toMatchObject({
      code: 0,
    });
    expect(await there('medik8s-leases')).toEqual({ made: true, roles: 0 });
  });

  it('that somebody else has made is used, and left as it is', async () => {
    await kubectl('create', 'namespace', 'other-leases');
    const before = await kubectl('get', 'namespace', 'other-leases', '-o', 'json');
    for (const enabled of ['auto', true]) await deploy({ enabled, namespace: 'other-leases' });
    expect(await there('other-leases')).toEqual({ made: true, roles: 2 });
    expect(await run('helm', 'uninstall', 'kairos-operator', '--no-hooks', '--wait', ...common())).toMatchObject({
      code: 0,
    });
    expect(await kubectl('get', 'namespace', 'other-leases', '-o', 'json')).toBe(before);
  });
});

const CLUSTER_KINDS =
  'clusterroles,clusterrolebindings,namespaces,customresourcedefinitions,validatingadmissionpolicies,validatingadmissionpolicybindings';
const NAMESPACED_KINDS =
  'deployments,daemonsets,statefulsets,jobs,pods,services,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets';

const uidOf = (pod: string) => kubectl('get', 'pod', pod, '-n', NAMESPACE, '-o', 'jsonpath={.metadata.uid}');

const endGuard = (exitCode: number) => endPod(kubectl, 'job-name=kairos-uninstall', exitCode, 'its last words');
