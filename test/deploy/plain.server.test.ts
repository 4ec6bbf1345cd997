import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { HELM_BUILD_MS, manifests, NAMESPACE, ROOT, run, type Run } from './chart.ts';
import { endPod } from './kubelet.ts';

const IMG = 'registry.example.com/kairos-operator:v7';
const OURS = ['-l', 'app.kubernetes.io/part-of=kairos-operator', '-o', 'name'];

let folder: string;
let cluster: ControlPlane;
let tool: string;

// Servers, Helm and kubectl take their time on a busy machine.
jest.setTimeout(240_000);

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-plain-'));
  await resolveTool('helm');
  tool = await resolveTool('kubectl');
  cluster = await startControlPlane({ folder });
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

/** As a person types it, with the cluster in the kubeconfig. */
function make(target: string, ...variables: string[]): Promise<Run> {
  const env = { ...process.env, KUBECONFIG: cluster.adminKubeconfig };
  return new Promise((resolve) => {
    const args = ['--no-print-directory', target, `KUBECTL=${tool}`, ...variables];
    execFile('make', args, { cwd: ROOT, env, timeout: 150_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : 1, stdout, stderr }),
    );
  });
}

const saying = (text: string) => expect.stringContaining(text) as unknown;

describe('the targets of the plain manifests', () => {
  it('say what to type where they are called wrongly', async () => {
    expect(await make('deploy')).toMatchObject({ code: 1, stderr: saying('IMG is not set') });
    expect(await make('build-installer', 'IMG=operator')).toMatchObject({
      code: 1,
      stderr: saying('IMG=operator does not name an image with its tag'),
    });
    const wrong = await make('build-installer', `IMG=${IMG}`, 'CHART_ARGS=--set logLevel=loud');
    expect(wrong).toMatchObject({ code: 1, stderr: saying("'/logLevel': value must be one of") });
    for (const target of ['install', 'uninstall', 'undeploy']) {
      const { code, stdout, stderr } = await make(target, 'KUBECTL=kubectl-that-is-not-there');
      expect({ code, text: `${stdout}${stderr}` }).toEqual({
        code: 1,
        text: saying('kubectl-that-is-not-there is missing: install kubectl, or name it by KUBECTL='),
      });
    }
  });

  it('install and delete the definitions', async () => {
    expect(await make('install')).toMatchObject({ code: 0 });
    expect(await kubectl('get', 'crd', '-o', 'name')).toContain('kairosnodes.kairos.io');
    expect(await make('uninstall')).toMatchObject({ code: 0 });
    expect(await kubectl('get', 'crd', '-o', 'name')).not.toContain('kairos.io');
  });

  it('deploy everything of the one file, which holds no hook of Helm', async () => {
    expect(await make('deploy', `IMG=${IMG}`)).toMatchObject({ code: 0, stderr: '' });
    const objects = manifests(readFileSync(path.join(ROOT, 'dist', 'install.yaml'), 'utf8'));
    expect(JSON.stringify(objects)).not.toContain('helm.sh/hook"');
    const all = '{.items[*].spec.template.spec.containers[0].image}';
    const kinds = 'deployments,daemonsets';
    const images = await kubectl('get', kinds, '-A', ...OURS.slice(0, 2), '-o', `jsonpath=${all}`);
    const ours = images.split(' ').filter((image) => image.startsWith('registry.example.com/'));
    expect(ours.toSorted()).toEqual(['registry.example.com/kairos-operator-agent:v7', IMG, IMG]);
    expect(await make('deploy', `IMG=${IMG}`)).toMatchObject({ code: 0, stderr: '' });
  });

  it('leave the samples to kubectl apply -k', async () => {
    const samples = path.join(ROOT, 'deploy', 'samples');
    expect(await kubectl('apply', '-k', samples)).toBe('nodeopupgrade.operator.kairos.io/hadron-v4.0.3 created');
    await kubectl('delete', '-k', samples);
  });

  it('do not delete the definitions under a deployed operator', async () => {
    const { code, stdout } = await make('uninstall');
    expect({ code, stdout }).toEqual({ code: 1, stdout: saying('make undeploy first') });
    expect(await kubectl('get', 'crd', '-o', 'name')).toContain('kairosnodes.kairos.io');
  });

  it('delete nothing where the guard refuses, and say what it said', async () => {
    const undeployed = make('undeploy');
    await endPod(kubectl, 'job-name=kairos-uninstall', 1, 'node worker-1 is past the point of no return');
    expect(await undeployed).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/node worker-1 is past the point of no return\nnothing was deleted/) as unknown,
    });
    expect(await kubectl('get', 'deployments', '-n', NAMESPACE, ...OURS)).toContain('kairos-worker');
    expect(await kubectl('get', 'job,clusterrole', '-n', NAMESPACE, ...OURS)).not.toContain('kairos-uninstall');
  });

  it('delete all but the definitions where it lets them', async () => {
    const undeployed = make('undeploy');
    await endPod(kubectl, 'job-name=kairos-uninstall', 0, '');
    expect(await undeployed).toMatchObject({ code: 0, stdout: saying('make uninstall deletes them') });
    const kinds =
      'namespaces,clusterroles,clusterrolebindings,customresourcedefinitions,validatingadmissionpolicies,validatingadmissionpolicybindings';
    const left = (await kubectl('get', kinds, ...OURS)).split('\n');
    expect(left.map((name) => name.split('/')[0])).toEqual(
      Array(2).fill('customresourcedefinition.apiextensions.k8s.io'),
    );
    expect(await make('undeploy')).toMatchObject({ code: 0, stdout: saying('there is no watcher in kairos-system') });
    expect(await make('uninstall')).toMatchObject({ code: 0 });
  });

  it('undeploy without the guard where that is asked for', async () => {
    expect(await make('deploy', `IMG=${IMG}`)).toMatchObject({ code: 0 });
    expect(await make('undeploy', 'GUARD=0')).toMatchObject({ code: 0, stdout: saying('stay cordoned') });
    expect(await kubectl('get', 'namespaces', ...OURS)).toBe('');
  });
});
