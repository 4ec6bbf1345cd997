import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { freePort } from '../../sim/ports.ts';
import { kubeconfigText } from '../start-up/program.ts';
import { forbidReadiness } from './forbidden-readiness.ts';
import { startOperatorProgram } from './operator-program.ts';
import { startStage, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 1 });
}, 90_000);
afterAll(async () => {
  await stage?.stop();
}, 60_000);

/** What the check prints, and how it ends. */
async function check(env: Record<string, string> = {}) {
  const { ended } = await startOperatorProgram(stage, 'check', { CHECK_TIMEOUT: '2s', ...env });
  const { code, text } = await ended;
  return { code, lines: text.trimEnd().split('\n') };
}

const CRD = 'nodeopupgrades.operator.kairos.io';

describe('the check of an installation', () => {
  it('says of each part that it works', async () => {
    const { code, lines } = await check({ CHECK_TIMEOUT: '30s' });
    expect(lines).toEqual([
      expect.stringMatching(/^works {4}API server: answers as e2e-[0-9a-f]{8}, Kubernetes v1\./),
      'works    custom resource definitions: are installed, and have all fields of this version',
      `works    Temporal: answers at ${stage.temporalServer.address}, namespace default`,
      expect.stringMatching(
        /^works {4}worker: answers on kairos-e2e-[0-9a-f]{8}, and sees 2 nodes, 2 of them with a KairosNode$/,
      ),
    ]);
    expect(code).toBe(0);
  }, 60_000);

  it('names what the worker goes on without', async () => {
    await forbidReadiness(stage);
    const { code, lines } = await check({ CHECK_TIMEOUT: '30s' });
    expect(lines[3]).toMatch(
      /^works {4}worker: answers on .* with a KairosNode; but ServiceAccount kairos-system\/kairos-worker may not get \/readyz, so .*: apply deploy\/operator\/worker-rbac\.yaml/,
    );
    expect(code).toBe(0);
  }, 60_000);

  it('names a Temporal that is not there, and what hangs on it', async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const { code, lines } = await check({ TEMPORAL_ADDRESS: address });
    expect(lines.slice(2)).toEqual([
      `MISSING  Temporal: Temporal at ${address} does not answer: nobody listens there: check that Temporal runs (kubectl get pods, in its namespace) and that TEMPORAL_ADDRESS is right`,
      'MISSING  worker: not asked: it is reached through Temporal; mend that first, then run this again',
    ]);
    expect(lines[0]).toMatch(/^works/);
    expect(code).toBe(1);
  }, 60_000);

  it('names a namespace that Temporal does not have, with the command that makes it', async () => {
    const { code, lines } = await check({ TEMPORAL_NAMESPACE: 'fleet' });
    expect(lines[2]).toMatch(/^MISSING {2}Temporal: .* has no namespace fleet: create it with "temporal operator/);
    expect(code).toBe(1);
  }, 60_000);

  it('names a worker that does not answer under this name of the cluster', async () => {
    const { code, lines } = await check({ KAIROS_CLUSTER_NAME: 'other' });
    expect(lines.slice(0, 3).map((line) => line.split(' ')[0])).toEqual(['works', 'works', 'works']);
    expect(lines[3]).toMatch(
      /^MISSING {2}worker: no worker answers on kairos-other-[0-9a-f]{8} in Temporal's namespace default within 15 s: check that the worker runs and is ready .*KAIROS_CLUSTER_NAME/,
    );
    expect(code).toBe(1);
  }, 60_000);

  it('names an account without the right that it needs, and the manifest', async () => {
    await stage.kubectl('delete', 'clusterrolebinding', 'kairos-check');
    const { code, lines } = await check();
    await stage.kubectl('apply', '--server-side', '-f', 'deploy/operator/check-rbac.yaml');
    expect(lines[0]).toMatch(
      /^MISSING {2}API server: ServiceAccount kairos-system\/kairos-check may not get namespaces "kube-system" in the cluster: apply deploy\/operator\/check-rbac\.yaml/,
    );
    expect(code).toBe(1);
  }, 60_000);

  it('names an API server that cannot be reached, and what hangs on it', async () => {
    const server = `https://127.0.0.1:${await freePort()}`;
    const KUBECONFIG = path.join(stage.folder, 'closed.kubeconfig');
    writeFileSync(KUBECONFIG, kubeconfigText({ server, ca: stage.cluster.controlPlane.caFile, token: 'none' }));
    const { code, lines } = await check({ KUBECONFIG });
    expect(lines[0]).toMatch(/^MISSING {2}API server: the API server https:.* cannot be reached \(ECONNREFUSED\)/);
    expect(lines[2]).toMatch(/^works/);
    expect(lines[3]).toBe(
      'MISSING  worker: not asked: it is reached through API server; mend that first, then run this again',
    );
    expect(code).toBe(1);
  }, 60_000);

  it('names an account that is nowhere', async () => {
    const { code, lines } = await check({ KUBECONFIG: '', KUBERNETES_SERVICE_HOST: '', HOME: '/nowhere' });
    expect(lines).toEqual([
      expect.stringMatching(/^MISSING {2}settings: no access to a cluster: KUBECONFIG is not set/),
    ]);
    expect(code).toBe(1);
  }, 60_000);

  it('names a definition that is not installed, with the command', async () => {
    await stage.kubectl('delete', 'crd', CRD);
    const { code, lines } = await check();
    expect(lines[1]).toMatch(
      /^MISSING {2}custom resource definitions: the CustomResourceDefinition nodeopupgrades\.operator\.kairos\.io is not installed: kubectl apply --server-side -f deploy\/crds/,
    );
    expect(code).toBe(1);
  }, 60_000);

  it('names environment variables that cannot be used', async () => {
    const { code, lines } = await check({ CHECK_TIMEOUT: 'soon' });
    expect(lines).toEqual(['MISSING  settings: wrong environment: CHECK_TIMEOUT=soon: a duration such as 90s or 5m']);
    expect(code).toBe(1);
  }, 60_000);
});
