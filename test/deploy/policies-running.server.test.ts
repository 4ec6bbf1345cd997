import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { KubeClient } from '../../kube/client.ts';
import { isReason } from '../../kube/errors.ts';
import type { RawObject } from '../../kube/raw-object.ts';
import { DRY_RUN, PolicyRig, eventually, jobsOf, podsOf, refusal } from './policies-rig.ts';

const NAMESPACE = 'kairos-system';
let rig: PolicyRig;
let worker: KubeClient;
let job: string;
let pod: string;

beforeAll(async () => {
  rig = await PolicyRig.open();
  worker = await rig.as(NAMESPACE, 'kairos-worker');
  ({ job, pod } = await rig.runningWrite(worker, 'node-a'));
}, 120_000);

afterAll(() => rig?.close());

const podPath = () => `${podsOf(NAMESPACE)}/${pod}`;
const jobPath = () => `${jobsOf(NAMESPACE)}/${job}`;
const remove = (client: KubeClient, path: string) =>
  client.request({ verb: 'delete', path, query: { ...DRY_RUN, gracePeriodSeconds: 0 } });
const change = (path: string, body: object) => rig.admin.request({ verb: 'merge-patch', path, body, query: DRY_RUN });

describe('while an image is written', () => {
  const writes =
    /: it writes the image of node node-a, which may not boot again if that is cut off; wait until it has ended/;

  it.each([
    ['an administrator', undefined],
    ['the namespace controller', 'namespace-controller'],
    ['the collector of ended Jobs', 'ttl-after-finished-controller'],
  ])('%s deletes neither Job nor pod', async (_who, account) => {
    const client = account === undefined ? rig.admin : await rig.as('kube-system', account);
    if (account !== 'ttl-after-finished-controller') {
      expect(await refusal(remove(client, podPath()))).toMatch(writes);
      expect(await refusal(remove(client, podsOf(NAMESPACE)))).toMatch(writes);
    }
    expect(await refusal(remove(client, jobPath()))).toMatch(writes);
  });

  it.each(['job-controller', 'generic-garbage-collector', 'pod-garbage-collector'])(
    '%s may delete the pod, for it does so only after the Job or the Node went',
    async (account) => {
      expect(await refusal(remove(await rig.as('kube-system', account), podPath()))).toBeUndefined();
    },
  );

  it('kubelet may delete the pod, and the worker both', async () => {
    const deletePod = ['delete', 'pod', pod, '-n', NAMESPACE, '--dry-run=server', '--wait=false'];
    await expect(rig.kubectlAs('system:node:node-a', 'system:nodes', ...deletePod)).resolves.toContain(pod);
    await expect(rig.kubectlAs('somebody', 'somebodies', ...deletePod)).rejects.toThrow('it writes the image');
    expect(await refusal(remove(worker, podPath()))).toBeUndefined();
    expect(await refusal(remove(worker, jobPath()))).toBeUndefined();
  });

  it('nobody evicts the pod', async () => {
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace: NAMESPACE } };
    const evict = rig.admin.request({ verb: 'create', path: `${podPath()}/eviction`, body });
    await expect(evict).rejects.toMatchObject({ reason: 'TooManyRequests' });
  });

  it.each([
    ['taking the label away', { metadata: { labels: { 'kairos.io/upgrade-step': null } } }],
    ['suspending it', { spec: { suspend: true } }],
    ['asking for no pods', { spec: { parallelism: 0 } }],
    ['a deadline', { spec: { activeDeadlineSeconds: 1 } }],
    ['an owner that is gone', owner()],
  ])('nobody ends its Job by %s', async (_how, body) => {
    expect(await refusal(change(jobPath(), body))).toMatch(/a changed spec, step label or owner.* wait until it ends/);
  });

  it.each([
    ['taking the label away', { metadata: { labels: { 'kairos.io/upgrade-step': null } } }, 'leave it as it is'],
    ['a deadline', { spec: { activeDeadlineSeconds: 1 } }, 'wait until it ends'],
    ['an owner that is gone', owner(), 'leave metadata.ownerReferences as they are'],
  ])('nobody ends its pod by %s', async (_how, body, next) => {
    expect(await refusal(change(podPath(), body))).toContain(next);
  });

  it('nobody puts a container of theirs into the privileged pod', async () => {
    const body = { spec: { ephemeralContainers: [{ name: 'evil', image: 'evil', targetContainerName: 'upgrade' }] } };
    expect(await refusal(change(`${podPath()}/ephemeralcontainers`, body))).toContain('wait until it ends');
  });
});

describe('before and after', () => {
  it('a pod that has started nothing is deleted by whom you like', async () => {
    const path = `${podsOf(NAMESPACE)}/${pod}/status`;
    await rig.admin.request({ verb: 'merge-patch', path, body: { status: { phase: 'Pending' } } });
    expect(await refusal(remove(rig.admin, podPath()))).toBeUndefined();
    await rig.admin.request({ verb: 'merge-patch', path, body: { status: { phase: 'Running' } } });
    expect(await refusal(remove(rig.admin, podPath()))).toContain('it writes the image');
  });

  it('what has ended is deleted, and evicted, by whom you like', async () => {
    await rig.podOf(NAMESPACE, job, 'Succeeded');
    await eventually('the Job is complete', async () => (await refusal(remove(rig.admin, jobPath()))) === undefined);
    expect(await refusal(remove(rig.admin, podPath()))).toBeUndefined();
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace: NAMESPACE } };
    await rig.admin.request({ verb: 'create', path: `${podPath()}/eviction`, body });
  });
});

describe('a namespace that is deleted while a Job writes in it', () => {
  it('is there until the write has ended, then goes by itself', async () => {
    const namespace = await servedNamespace('team-a');
    const write = await rig.runningWrite(worker, 'node-b', 'team-a');
    await rig.admin.request({ verb: 'delete', path: namespace });

    const told = await eventually('the namespace controller was refused', () => deletionFailure(namespace));
    expect(told).toContain('it writes the image of node node-b');
    const paths = [`${podsOf('team-a')}/${write.pod}`, `${jobsOf('team-a')}/${write.job}`];
    const left = await Promise.all(paths.map((path) => rig.admin.request<RawObject>({ verb: 'get', path })));
    expect(left.map(({ metadata }) => metadata.deletionTimestamp)).toEqual([undefined, undefined]);

    await rig.podOf('team-a', write.job, 'Succeeded');
    await eventually('the namespace is gone', () => isGone(namespace));
  }, 60_000);

  it('goes at once where the pod of its Job has not started', async () => {
    const namespace = await servedNamespace('team-b');
    const write = await rig.runningWrite(worker, 'node-b', 'team-b');
    await rig.podOf('team-b', write.job, 'Pending');
    await rig.admin.request({ verb: 'delete', path: namespace });
    await deletePendingPods('team-b');
    await eventually('the namespace is gone', () => isGone(namespace));
  }, 60_000);
});

/** Kubelet's part: a pod that is being deleted, and runs nothing, goes. */
async function deletePendingPods(namespace: string): Promise<void> {
  const query = { gracePeriodSeconds: 0 };
  await eventually('kubelet sees the deletion', async () => {
    const { items } = await rig.admin.request<{ items: RawObject[] }>({ verb: 'list', path: podsOf(namespace) });
    const ending = items.filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
    for (const { metadata } of ending) {
      await rig.admin.request({ verb: 'delete', path: `${podsOf(namespace)}/${metadata.name}`, query });
    }
    return items.length === 0 || ending.length > 0;
  });
}

function owner() {
  const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'gone', uid: 'gone' }];
  return { metadata: { ownerReferences } };
}

async function servedNamespace(name: string): Promise<string> {
  const metadata = { name, labels: { 'pod-security.kubernetes.io/enforce': 'privileged' } };
  await rig.admin.request({
    verb: 'create',
    path: '/api/v1/namespaces',
    body: { apiVersion: 'v1', kind: 'Namespace', metadata },
  });
  const group = 'rbac.authorization.k8s.io';
  const body = {
    apiVersion: `${group}/v1`,
    kind: 'RoleBinding',
    metadata: { name: 'kairos-worker' },
    roleRef: { apiGroup: group, kind: 'ClusterRole', name: 'admin' },
    subjects: [{ kind: 'ServiceAccount', name: 'kairos-worker', namespace: NAMESPACE }],
  };
  await rig.admin.request({ verb: 'create', path: `/apis/${group}/v1/namespaces/${name}/rolebindings`, body });
  const probe = { verb: 'list', path: jobsOf(name) } as const;
  await eventually('the worker has its rights', async () => (await refusal(worker.request(probe))) === undefined);
  return `/api/v1/namespaces/${name}`;
}

async function deletionFailure(namespace: string): Promise<string | undefined> {
  const { status } = await rig.admin.request<RawObject>({ verb: 'get', path: namespace });
  const { conditions = [] } = status as { conditions?: { type: string; status: string; message: string }[] };
  return conditions.find((one) => one.type === 'NamespaceDeletionContentFailure' && one.status === 'True')?.message;
}

async function isGone(path: string): Promise<boolean> {
  try {
    await rig.admin.request({ verb: 'get', path });
    return false;
  } catch (error) {
    if (isReason(error, 'NotFound')) return true;
    throw error;
  }
}
