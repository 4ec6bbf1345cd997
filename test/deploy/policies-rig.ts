import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { writeJob } from '../../activities/manifests.ts';
import { connectToCluster, type KubeClient } from '../../kube/client.ts';
import { isReason } from '../../kube/errors.ts';
import type { RawObject } from '../../kube/raw-object.ts';
import { applyFolder } from '../../sim/apply.ts';
import { startControlPlane, type ControlPlane } from '../../sim/control-plane.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { HAND } from '../activities/step-world.ts';
import { ROOT } from '../rooms/imports.ts';

export const KAIROS_NODES = '/apis/kairos.io/v1alpha1/kairosnodes';
export const DRY_RUN = { dryRun: 'All' } as const;

/** The Job that writes the image of a node, as the worker makes it. */
export const writeJobOf = (node: string, namespace = 'kairos-system') =>
  writeJob(
    { ...HAND, node: { name: node, uid: `uid-of-${node}` }, request: { ...HAND.request, namespace } },
    'upgrade',
  );

export const podsOf = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`;
export const jobsOf = (namespace: string) => `/apis/batch/v1/namespaces/${namespace}/jobs`;

/** A real control plane under the policies, with three nodes of which only the objects exist. */
export class PolicyRig {
  readonly cluster: ControlPlane;
  readonly admin: KubeClient;
  readonly #folder: string;
  readonly #clients: KubeClient[] = [];

  private constructor(cluster: ControlPlane, folder: string) {
    this.cluster = cluster;
    this.#folder = folder;
    this.admin = connectToCluster({ kubeconfig: cluster.adminKubeconfig });
    this.#clients.push(this.admin);
  }

  static async open(): Promise<PolicyRig> {
    const folder = await mkdtemp(join(tmpdir(), 'kairos-policies-'));
    const rig = new PolicyRig(await startControlPlane({ folder }), folder);
    try {
      await rig.#prepare();
      return rig;
    } catch (error) {
      await rig.close();
      throw error;
    }
  }

  async #prepare(): Promise<void> {
    for (const part of ['crds', 'agent', 'operator', 'policies']) {
      await applyFolder(this.admin, join(ROOT, 'deploy', part));
    }
    for (const name of ['node-a', 'node-b', 'node-c']) {
      const body = { apiVersion: 'v1', kind: 'Node', metadata: { name } };
      await this.admin.request({ verb: 'create', path: '/api/v1/nodes', body });
    }
    // The last to be applied; the API server takes the others up with it or before.
    const { metadata, ...job } = writeJobOf('node-a');
    const probe = { ...job, metadata: { ...metadata, name: 'probe' } };
    await eventually('the policies hold', async () => {
      const create = this.admin.request({ verb: 'create', path: jobsOf('kairos-system'), body: probe, query: DRY_RUN });
      return (await refusal(create)) !== undefined;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.cluster.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** A client with a token of this service account, where asked for bound to a pod, and so to its node. */
  async as(namespace: string, account: string, pod?: { name: string; uid: string }): Promise<KubeClient> {
    const bound = pod && { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid } };
    const { status } = await this.admin.request<{ status: { token: string } }>({
      verb: 'create',
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { expirationSeconds: 600, ...bound },
      },
    });
    const name = `${account}-${this.#clients.length}`;
    const client = connectToCluster({ kubeconfig: this.cluster.kubeconfigFor({ name, token: status.token }) });
    this.#clients.push(client);
    return client;
  }

  /** What the agent of this node has: the token that kubelet would mount into its pod. */
  async agentOf(node: string): Promise<KubeClient> {
    const body = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `agent-${node}` },
      spec: {
        nodeName: node,
        serviceAccountName: 'kairos-agent',
        tolerations: [{ operator: 'Exists' }],
        containers: [{ name: 'agent', image: 'agent' }],
      },
    };
    const pod = await this.admin.request<RawObject>({ verb: 'create', path: podsOf('kairos-agent'), body });
    return this.as('kairos-agent', 'kairos-agent', pod.metadata);
  }

  /** As a user in these groups, with all rights. */
  async kubectlAs(user: string, group: string, ...args: string[]): Promise<string> {
    const who = [`--kubeconfig=${this.cluster.adminKubeconfig}`, `--as=${user}`, `--as-group=${group}`];
    const { stdout } = await promisify(execFile)(await resolveTool('kubectl'), [
      ...who,
      '--as-group=system:masters',
      ...args,
    ]);
    return stdout;
  }

  /** As if RBAC were lost: every right there is, in all namespaces. */
  async giveAllRights(namespace: string, account: string): Promise<void> {
    const body = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: `all-${account}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
    };
    const path = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';
    await this.admin.request({ verb: 'create', path, body });
    const client = await this.as(namespace, account);
    await eventually(`${account} has all rights`, async () => {
      return (await refusal(client.request({ verb: 'list', path: '/api/v1/secrets' }))) === undefined;
    });
  }

  /** The Job's pod, made by the Job controller; kubelet, as which this acts, says of it that it is in `phase`. */
  async podOf(namespace: string, job: string, phase: 'Pending' | 'Running' | 'Succeeded'): Promise<RawObject> {
    const query = { labelSelector: `batch.kubernetes.io/job-name=${job}` };
    const pod = await eventually(`${job} has a pod`, async () => {
      return (await this.admin.request<{ items: RawObject[] }>({ verb: 'list', path: podsOf(namespace), query }))
        .items[0];
    });
    const ready = { type: 'Ready', status: phase === 'Running' ? 'True' : 'False' };
    const path = `${podsOf(namespace)}/${pod.metadata.name}/status`;
    const ended = { containerID: 'containerd://1', exitCode: 0, reason: 'Completed' };
    const state = phase === 'Succeeded' ? { terminated: ended } : {};
    const containerStatuses = [
      { name: 'upgrade', image: 'i', imageID: 'i', ready: phase === 'Running', restartCount: 0, state },
    ];
    const body = { status: { phase, conditions: [ready], containerStatuses } };
    return this.admin.request<RawObject>({ verb: 'merge-patch', path, body });
  }

  /** A Job of the worker whose pod runs, and which the Job controller has seen running. */
  async runningWrite(
    worker: KubeClient,
    node: string,
    namespace = 'kairos-system',
  ): Promise<{ job: string; pod: string }> {
    const manifest = writeJobOf(node, namespace);
    const job = manifest.metadata.name;
    await worker.request({ verb: 'create', path: jobsOf(namespace), body: manifest });
    const pod = await this.podOf(namespace, job, 'Running');
    await eventually(`${job} is active`, async () => {
      const { status } = await this.admin.request<RawObject>({ verb: 'get', path: `${jobsOf(namespace)}/${job}` });
      return (status as { active?: number }).active === 1;
    });
    return { job, pod: pod.metadata.name };
  }
}

/** What the API server says where it forbids this; undefined where it does not. Rejects with any other failure. */
export async function refusal(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (isReason(error, 'Forbidden')) return (error as Error).message;
    throw error;
  }
}

/** The first answer that is neither undefined nor false. */
export async function eventually<T>(what: string, ask: () => Promise<T | undefined | false>): Promise<T> {
  const giveUpAtMs = Date.now() + 30_000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > giveUpAtMs) throw new Error(`${what}: not within 30 s`);
    await sleep(50);
  }
}
