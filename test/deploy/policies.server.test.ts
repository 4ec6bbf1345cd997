import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { evidencePod, prePullPod, rebootPod } from '../../activities/manifests.ts';
import type { KubeClient } from '../../kube/client.ts';
import { createJob } from '../../kube/jobs.ts';
import { applyKairosNodeSpec, patchKairosNodeStatus, setKairosNodeOwner } from '../../kube/kairos-nodes.ts';
import { writeNode } from '../../kube/nodes.ts';
import { createPod } from '../../kube/pods.ts';
import type { RawObject } from '../../kube/raw-object.ts';
import { HAND } from '../activities/step-world.ts';
import { DRY_RUN, KAIROS_NODES, PolicyRig, eventually, jobsOf, podsOf, refusal, writeJobOf } from './policies-rig.ts';

interface CheckedPolicy {
  metadata: { name: string; generation: number };
  spec: { failurePolicy: string };
  status?: { observedGeneration?: number; typeChecking?: { expressionWarnings?: unknown[] } };
}

let rig: PolicyRig;
let agent: KubeClient;
let worker: KubeClient;
let watcher: KubeClient;
/** Of a node without a KairosNode. */
let agentOfThird: KubeClient;

beforeAll(async () => {
  rig = await PolicyRig.open();
  [agent, agentOfThird, worker, watcher] = await Promise.all([
    rig.agentOf('node-a'),
    rig.agentOf('node-c'),
    rig.as('kairos-system', 'kairos-worker'),
    rig.as('kairos-system', 'kairos-watcher'),
  ]);
}, 120_000);

afterAll(() => rig?.close());

const ATTEMPT = {
  rollout: 'forged',
  specGeneration: 1,
  image: 'i',
  verdict: 'Succeeded',
  finishedAt: '2026-03-01T10:00:00Z',
};
const nodeObject = (name: string) => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
function labels(changed: Record<string, string>) {
  return { metadata: { labels: changed } };
}

const head = (name: string, metadata = {}) => ({
  apiVersion: 'kairos.io/v1alpha1',
  kind: 'KairosNode',
  metadata: { name, ...metadata },
});
const create = (client: KubeClient, path: string, body: object) =>
  client.request<RawObject>({ verb: 'create', path, body, query: DRY_RUN });
const patch = (client: KubeClient, path: string, body: object) =>
  client.request<RawObject>({ verb: 'merge-patch', path, body, query: DRY_RUN });
const remove = (client: KubeClient, path: string) =>
  client.request({ verb: 'delete', path, query: { ...DRY_RUN, gracePeriodSeconds: 0 } });
const report = (client: KubeClient, node: string, status: object) =>
  client.request<RawObject>({
    verb: 'apply',
    path: `${KAIROS_NODES}/${node}/status`,
    body: { ...head(node), status },
    fieldManager: 'kairos-agent',
    query: { force: true },
  });

/** A pod of the kind that upgrades a node, as somebody else would write it. */
const labelledPod = (labels: object = { 'kairos.io/upgrade-step': 'evidence' }) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'forged', labels },
  spec: {
    nodeName: 'node-b',
    automountServiceAccountToken: false,
    containers: [{ name: 'c', image: 'i', securityContext: { privileged: true } }],
  },
});

it('the API server finds nothing to complain of in the policies', async () => {
  const path = '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies';
  const ofOurs = { labelSelector: 'app.kubernetes.io/part-of=kairos-operator' };
  const policies = await eventually('the policies are checked', async () => {
    const { items } = await rig.admin.request<{ items: CheckedPolicy[] }>({ verb: 'list', path, query: ofOurs });
    return items.every(({ metadata, status }) => status?.observedGeneration === metadata.generation) && items;
  });
  expect(policies.map(({ metadata }) => metadata.name)).toHaveLength(7);
  expect(policies.flatMap(({ status }) => status?.typeChecking?.expressionWarnings ?? [])).toEqual([]);
  expect(policies.map(({ spec }) => spec.failurePolicy)).toEqual(Array(7).fill('Fail'));
});

describe('what each part does in its work is admitted:', () => {
  it('an agent makes the KairosNode of its node and reports all that agents report', async () => {
    for (const node of ['node-a', 'node-b']) {
      const own = node === 'node-a' ? agent : await rig.agentOf(node);
      await own.request({ verb: 'create', path: KAIROS_NODES, body: head(node) });
      const status = {
        observedVersion: 'v4.0.3',
        release: { KAIROS_VERSION: 'v4.0.3' },
        bootID: 'boot-1',
        bootState: 'active',
        stamp: { image: 'i' },
        agentVersion: '0.1.0',
        reportedAt: '2026-03-01T10:00:00Z',
      };
      expect((await report(own, node, status)).status).toEqual(status);
      // what is no longer true is left out, and goes
      const { stamp: _, ...later } = status;
      expect((await report(own, node, later)).status).toEqual(later);
    }
  });

  it('the watcher ties KairosNodes to Nodes and labels these', async () => {
    await setKairosNodeOwner(watcher, 'node-a', { nodeUID: 'uid' });
    expect((await writeNode(watcher, 'node-a', { managed: 'true' })).labels['kairos.io/managed']).toBe('true');
  });

  it('the worker marks, cordons and gives nodes back, and writes how their upgrade goes', async () => {
    expect(await writeNode(worker, 'node-a', { owner: 'w', unschedulable: true })).toMatchObject({ owner: 'w' });
    expect((await writeNode(worker, 'node-a', { owner: null, unschedulable: false })).unschedulable).toBe(false);
    await applyKairosNodeSpec(worker, 'node-a', { image: 'i' });
    await patchKairosNodeStatus(worker, 'node-a', { upgradeState: 'InProgress', message: 'writing' });
    expect((await report(agent, 'node-a', { bootID: 'boot-2' })).status).toMatchObject({ message: 'writing' });
  });

  it('the watcher writes the end that a rollout could not, over one that is there', async () => {
    for (const message of ['Terminated', 'Terminated again'])
      await patchKairosNodeStatus(watcher, 'node-a', { lastAttempt: { ...ATTEMPT, verdict: 'Cancelled' }, message });
  });

  it('the uninstall program gives nodes back', async () => {
    const uninstall = await rig.as('kairos-system', 'kairos-uninstall');
    await writeNode(worker, 'node-a', { owner: 'w', unschedulable: true });
    expect((await writeNode(uninstall, 'node-a', { owner: null, unschedulable: null })).unschedulable).toBe(false);
  });

  it('the worker makes and deletes the pods of all steps', async () => {
    const context = { ...HAND, request: { ...HAND.request, namespace: 'kairos-system' } };
    const node = { name: 'node-a', uid: 'u' };
    const hand = { ...context, node };
    for (const pod of [prePullPod(context, node), evidencePod(hand, 'b'), rebootPod(hand), rebootPod(hand, 'forced')]) {
      await createPod(worker, 'kairos-system', pod);
      const path = `${podsOf('kairos-system')}/${pod.metadata.name}`;
      await worker.request({ verb: 'delete', path, query: { gracePeriodSeconds: 0 } });
    }
  });
});

describe('a stolen token of an agent', () => {
  it.each([
    ['read Secrets', 'list', '/api/v1/secrets'],
    ['read the Nodes', 'list', '/api/v1/nodes'],
    ['read the KairosNodes of all nodes', 'list', KAIROS_NODES],
    ['read NodeOpUpgrades', 'list', '/apis/operator.kairos.io/v1alpha1/nodeopupgrades'],
    ['read pods', 'list', podsOf('kairos-agent')],
  ] as const)('has no right to %s', async (_what, verb, path) => {
    expect(await refusal(agent.request({ verb, path }))).toContain('cannot list resource');
  });

  it('has no right to make itself another token, a pod or an upgrade', async () => {
    const account = '/api/v1/namespaces/kairos-agent/serviceaccounts/kairos-agent/token';
    const upgrades = '/apis/operator.kairos.io/v1alpha1/namespaces/kairos-system/nodeopupgrades';
    for (const path of [account, podsOf('kairos-agent'), upgrades]) {
      expect(await refusal(create(agent, path, {}))).toContain('cannot create resource');
    }
  });
});

describe.each([['worker'], ['watcher']])('a stolen token of the %s', (name) => {
  it('has no right to read Secrets, make tokens, rights or policies, or to work in other namespaces', async () => {
    const stolen = name === 'worker' ? worker : watcher;
    const paths = [
      '/api/v1/namespaces/kairos-agent/serviceaccounts/kairos-agent/token',
      '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
      '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies',
      podsOf('default'),
      jobsOf('default'),
    ];
    for (const path of paths) expect(await refusal(create(stolen, path, {}))).toContain('cannot create resource');
    expect(await refusal(stolen.request({ verb: 'list', path: '/api/v1/secrets' }))).toContain('cannot list resource');
    expect(await refusal(remove(stolen, `${podsOf('default')}/any`))).toContain('cannot delete resource');
  });
});

describe('were RBAC to give every right to all, still', () => {
  beforeAll(async () => {
    await Promise.all([
      rig.giveAllRights('kairos-agent', 'kairos-agent'),
      rig.giveAllRights('kairos-system', 'kairos-worker'),
      rig.giveAllRights('kairos-system', 'kairos-watcher'),
    ]);
  }, 60_000);

  describe('an agent', () => {
    const other = /KairosNode node-b: this is the agent of node node-a.* delete the pod of its agent/;

    it('writes no KairosNode of another node', async () => {
      expect(await refusal(create(agent, KAIROS_NODES, head('node-b')))).toMatch(other);
      expect(await refusal(report(agent, 'node-b', { bootID: 'forged' }))).toMatch(other);
      expect(await refusal(patch(agent, `${KAIROS_NODES}/node-b`, { spec: { image: 'evil' } }))).toMatch(other);
      expect(await refusal(remove(agent, `${KAIROS_NODES}/node-b`))).toMatch(other);
      const all = remove(agent, KAIROS_NODES);
      expect(await refusal(all)).toMatch(/KairosNode node-[ab]: /);
    });

    it('is nobody with a token that names no node', async () => {
      const unbound = await rig.as('kairos-agent', 'kairos-agent');
      const said = await refusal(report(unbound, 'node-a', { bootID: 'forged' }));
      expect(said).toMatch(
        /KairosNode node-a: the token of this agent names no node.* use the token that kubelet mounts/,
      );
    });

    it('orders no upgrade of its own node, and does not delete its record', async () => {
      const only = /KairosNode node-a: an agent creates it and writes its status, nothing else.* with kubectl/;
      const own = `${KAIROS_NODES}/node-a`;
      expect(await refusal(patch(agent, own, { spec: { image: 'evil' } }))).toMatch(only);
      expect(await refusal(patch(agent, own, { metadata: { annotations: { 'kairos.io/retry': '1' } } }))).toMatch(only);
      expect(await refusal(remove(agent, own))).toMatch(only);
    });

    it.each([
      ['spec', { spec: { image: 'evil' } }],
      ['metadata.labels', { metadata: { name: 'node-c', labels: { a: 'b' } } }],
      ['metadata.annotations', { metadata: { name: 'node-c', annotations: { 'kairos.io/retry': '1' } } }],
      ['metadata.finalizers', { metadata: { name: 'node-c', finalizers: ['evil.io/never'] } }],
      [
        'metadata.ownerReferences',
        { metadata: { name: 'node-c', ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: 'n', uid: 'u' }] } },
      ],
    ])('creates none that carries %s', async (field, extra) => {
      expect(await refusal(create(agentOfThird, KAIROS_NODES, { ...head('node-c'), ...extra }))).toContain(
        `KairosNode node-c: an agent creates it with its name and nothing else, and this one has ${field}; leave that out`,
      );
      expect(await refusal(create(agentOfThird, KAIROS_NODES, head('node-c')))).toBeUndefined();
    });

    it.each([
      ['upgradeState', { upgradeState: 'Completed' }],
      ['message', { message: null }],
      ['lastAttempt', { lastAttempt: ATTEMPT }],
      ['conditions', { conditions: [] }],
    ])('does not write %s, which the operator does', async (field, status) => {
      const said = await refusal(patch(agent, `${KAIROS_NODES}/node-a/status`, { status }));
      expect(said).toContain(
        `KairosNode node-a: status fields not written by agents would change: ${field}; write only`,
      );
    });
  });

  describe('the worker and the watcher', () => {
    it.each([
      ['label kairos.io/managed', { metadata: { labels: { 'kairos.io/managed': 'false' } } }],
      ['label a', { metadata: { labels: { a: 'b' } } }],
      ['annotation a', { metadata: { annotations: { a: 'b' } } }],
      ['metadata.finalizers', { metadata: { finalizers: ['a.io/b'] } }],
      ['spec.taints', { spec: { taints: [{ key: 'a', effect: 'NoExecute' }] } }],
      ['spec.providerID', { spec: { providerID: 'a' } }],
    ])('the worker does not change %s of a Node', async (field, change) => {
      const both = { ...change, spec: { ...('spec' in change && change.spec), unschedulable: true } };
      expect(await refusal(patch(worker, '/api/v1/nodes/node-a', both))).toMatch(
        new RegExp(`Node node-a: .*kairos-worker may change only .* and this would change ${field}; .* kubectl`),
      );
    });

    it.each([
      ['spec.unschedulable', { spec: { unschedulable: true } }],
      ['annotation kairos.io/upgrade-owner', { metadata: { annotations: { 'kairos.io/upgrade-owner': 'w' } } }],
      ['label node-role.kubernetes.io/control-plane', labels({ 'node-role.kubernetes.io/control-plane': '' })],
    ])('the watcher does not change %s of a Node', async (field, change) => {
      expect(await refusal(patch(watcher, '/api/v1/nodes/node-a', change))).toContain(
        `kairos-watcher may change only label kairos.io/managed, and this would change ${field}; `,
      );
    });

    it('neither makes or deletes Nodes, or writes their status', async () => {
      const neither = /the operator neither makes nor deletes Nodes.* restart its pods/;
      for (const client of [worker, watcher]) {
        expect(await refusal(remove(client, '/api/v1/nodes/node-b'))).toMatch(neither);
        expect(await refusal(create(client, '/api/v1/nodes', nodeObject('node-x')))).toMatch(neither);
        expect(await refusal(patch(client, '/api/v1/nodes/node-b/status', { status: { phase: 'x' } }))).toMatch(
          neither,
        );
      }
    });

    it('others change Nodes as before', async () => {
      expect(await refusal(patch(rig.admin, '/api/v1/nodes/node-a', labels({ a: 'b' })))).toBeUndefined();
    });
  });

  describe('of KairosNodes', () => {
    const owned = (owner: object) => ({ metadata: { ownerReferences: [{ apiVersion: 'v1', uid: 'u', ...owner }] } });
    const own = `${KAIROS_NODES}/node-a`;

    it.each<[string, string, object]>([
      ['spec', own, { spec: { image: 'evil' } }],
      ['metadata.annotations', own, { metadata: { annotations: { 'kairos.io/retry': '1' } } }],
      ['metadata.labels', own, labels({ a: 'b' })],
      ['metadata.finalizers', own, { metadata: { finalizers: ['a.io/b'] } }],
      ['status.bootID', `${own}/status`, { status: { bootID: 'forged' } }],
      ['status.step', `${own}/status`, { status: { step: 'Reboot' } }],
      ['status.upgradeState', `${own}/status`, { status: { upgradeState: 'Completed' } }],
    ])('the watcher does not change %s', async (field, path, change) => {
      expect(await refusal(patch(watcher, path, change))).toContain(
        `KairosNode node-a: system:serviceaccount:kairos-system:kairos-watcher may change only metadata.ownerReferences, status.lastAttempt, status.message, and this would change ${field}; `,
      );
    });

    it('the watcher makes none the property of anything but its Node', async () => {
      for (const owner of [
        { kind: 'Node', name: 'node-b' },
        { kind: 'ConfigMap', name: 'node-a' },
      ])
        expect(await refusal(patch(watcher, own, owned(owner)))).toMatch(
          /it is owned by its Node, and would be deleted/,
        );
      expect(await refusal(patch(watcher, own, owned({ kind: 'Node', name: 'node-a' })))).toBeUndefined();
    });

    it.each<[string, string, object]>([
      ['metadata.annotations', own, { metadata: { annotations: { 'kairos.io/retry': '1' } } }],
      ['metadata.ownerReferences', own, { metadata: { ownerReferences: null } }],
      ['status.bootID', `${own}/status`, { status: { bootID: 'forged' } }],
      ['status.stamp', `${own}/status`, { status: { stamp: { image: 'forged' } } }],
    ])('the worker does not change %s', async (field, path, change) => {
      expect(await refusal(patch(worker, path, change))).toContain(
        `KairosNode node-a: system:serviceaccount:kairos-system:kairos-worker may change only spec, and the status without what agents report, and this would change ${field}; `,
      );
    });

    it('worker and watcher neither make nor delete any', async () => {
      const neither = /KairosNode node-[ac]: agents make KairosNodes, and they go with their Nodes.* restart its pods/;
      for (const client of [worker, watcher]) {
        expect(await refusal(create(client, KAIROS_NODES, head('node-c')))).toMatch(neither);
        expect(await refusal(remove(client, own))).toMatch(neither);
      }
    });

    it('others change them as before', async () => {
      const change = { spec: { image: 'i' }, ...labels({ a: 'b' }) };
      expect(await refusal(patch(rig.admin, own, change))).toBeUndefined();
    });
  });

  describe('of pods and Jobs', () => {
    const step = { 'kairos.io/upgrade-step': 'evidence' };
    const pod = (change: object, container: object = {}) => {
      const { spec, ...rest } = labelledPod();
      const containers = spec.containers.map((one) => ({ ...one, ...container }));
      return { ...rest, spec: { ...spec, containers, ...change } };
    };
    const volume = (source: object) => ({ volumes: [{ name: 'v', ...source }] });
    const token = { serviceAccountToken: { path: 't' } };

    it.each<[string, object]>([
      ['without the label of a step', labelledPod({})],
      ['of a step that is none of a pod', labelledPod({ 'kairos.io/upgrade-step': 'upgrade' })],
    ])('the worker makes none %s', async (_, body) => {
      expect(await refusal(create(worker, podsOf('kairos-system'), body))).toMatch(
        /pod kairos-system\/forged: the worker of kairos-operator makes only those of its steps.* pre-pull, reboot, evidence; /,
      );
    });

    it.each<[string, RegExp, object]>([
      ['another account', /is nobody to the API server/, pod({ serviceAccountName: 'kairos-watcher' })],
      ['a token', /is nobody to the API server/, pod({ automountServiceAccountToken: true })],
      ['a Secret', /reads no Secret/, pod(volume({ secret: { secretName: 's' } }))],
      ['a projected token', /reads no Secret/, pod(volume({ projected: { sources: [token] } }))],
      [
        'a variable from a Secret',
        /reads no Secret/,
        pod({}, { env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }] }),
      ],
      ['all variables of a Secret', /reads no Secret/, pod({}, { envFrom: [{ secretRef: { name: 's' } }] })],
    ])('the worker makes none with %s', async (_, expected, body) => {
      expect(await refusal(create(worker, podsOf('kairos-system'), body))).toMatch(expected);
      expect(await refusal(create(worker, podsOf('kairos-system'), labelledPod(step)))).toBeUndefined();
    });

    it('the worker makes no Job whose pods are of no step, or have an account or a Secret', async () => {
      const job = writeJobOf('node-a');
      const withSpec = (change: object) => {
        const { template } = job.spec;
        return { ...job, spec: { ...job.spec, template: { ...template, spec: { ...template.spec, ...change } } } };
      };
      const all = jobsOf('kairos-system');
      const { metadata: _, ...bare } = job.spec.template;
      const unlabelled = { ...job, spec: { ...job.spec, template: bare } };
      expect(await refusal(create(worker, all, unlabelled))).toMatch(
        /makes only those of its steps.* upgrade, recovery; /,
      );
      expect(await refusal(create(worker, all, withSpec({ serviceAccountName: 'kairos-watcher' })))).toMatch(
        /Job kairos-system\/.*: what upgrades a node is nobody to the API server/,
      );
      const { volumes } = volume({ secret: { secretName: 's' } });
      expect(
        await refusal(create(worker, all, withSpec({ volumes: [...job.spec.template.spec.volumes, ...volumes] }))),
      ).toMatch(/reads no Secret/);
      expect(await refusal(create(worker, all, job))).toBeUndefined();
    });
  });

  describe('nobody but the worker makes what upgrades nodes:', () => {
    const onlyWorker = /forged: the label kairos.io\/upgrade-step marks .* only the worker .* write a NodeOpUpgrade/;

    it.each(['default', 'kairos-system'])('no pod with the label, in namespace %s', async (namespace) => {
      for (const client of [rig.admin, watcher, agent]) {
        expect(await refusal(create(client, podsOf(namespace), labelledPod()))).toMatch(onlyWorker);
      }
      expect(await refusal(create(rig.admin, podsOf(namespace), labelledPod({})))).toBeUndefined();
      expect(await refusal(create(worker, podsOf(namespace), labelledPod()))).toBeUndefined();
    });

    it('no Job with the label, be it on its pods alone', async () => {
      const job = writeJobOf('node-a');
      const forged = { ...job, metadata: { name: 'forged', labels: job.metadata.labels } };
      const hidden = { ...job, metadata: { name: 'forged' } };
      for (const body of [forged, hidden]) {
        expect(await refusal(create(watcher, jobsOf('default'), body))).toMatch(onlyWorker);
        expect(await refusal(create(worker, jobsOf('default'), body))).toBeUndefined();
      }
    });

    it('the Job controller only for a Job', async () => {
      const controller = await rig.as('kube-system', 'job-controller');
      const owner = { apiVersion: 'batch/v1', name: 'forged', uid: 'u', controller: true };
      const ownedBy = (kind: string) => {
        const { metadata, ...pod } = labelledPod();
        return { ...pod, metadata: { ...metadata, ownerReferences: [{ ...owner, kind }] } };
      };
      expect(await refusal(create(controller, podsOf('default'), ownedBy('Job')))).toBeUndefined();
      expect(await refusal(create(controller, podsOf('default'), labelledPod()))).toMatch(onlyWorker);
      expect(await refusal(create(controller, podsOf('default'), ownedBy('CronJob')))).toMatch(onlyWorker);
    });

    it('nobody gives the label to a pod or a Job that is there', async () => {
      const { metadata: _, ...rest } = labelledPod({});
      await createPod(rig.admin, 'default', { ...rest, metadata: { name: 'plain' } });
      const label = labels({ 'kairos.io/upgrade-step': 'upgrade' });
      const kept = /plain: the label kairos.io\/upgrade-step is given when a pod is made.* leave it as it is/;
      expect(await refusal(patch(rig.admin, `${podsOf('default')}/plain`, label))).toMatch(kept);
      expect(await refusal(patch(rig.admin, `${podsOf('default')}/plain`, labels({ a: 'b' })))).toBeUndefined();

      const { spec } = writeJobOf('node-a');
      const template = { spec: spec.template.spec };
      const job = {
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name: 'plain' },
        spec: { suspend: true, template },
      };
      await createJob(rig.admin, 'default', job);
      const said = await refusal(patch(rig.admin, `${jobsOf('default')}/plain`, label));
      expect(said).toMatch(/Job default\/plain: it upgrades a node, and a changed spec, step label or owner/);
    });
  });
});
