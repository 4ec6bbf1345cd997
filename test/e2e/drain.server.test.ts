import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Blocker, NodeOpUpgradeSpec } from '../../api/types.ts';
import { STOPS_LATE_ANNOTATION } from '../../sim/stages.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

type Drain = NonNullable<NonNullable<NodeOpUpgradeSpec['strategy']>['drain']>;

/** Nodes that other tests have out at the same time leave room. */
const ROOM = { maxUnavailable: 12 };
const MAY_DELETE = path.join(import.meta.dirname, '../../deploy/options/worker-may-delete-pods.yaml');
const PODS = '/api/v1/namespaces/default/pods';
const ATTACHMENTS = '/apis/storage.k8s.io/v1/volumeattachments';

let stage: Stage;

/** What is done to each node and its rollout; all at the same time, since most of it is waiting. */
const STORIES = {
  listed,
  uncordoned,
  unmarked,
  deleted,
  bare,
  finalized,
  completing,
  attached,
  skipped,
  unhealthy,
  graceful,
};
const told: Partial<Record<keyof typeof STORIES, Promise<void>>> = {};

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: Object.keys(STORIES).length });
  for (const [name, story] of Object.entries(STORIES)) {
    const ended = story();
    ended.catch(() => undefined);
    told[name as keyof typeof STORIES] = ended;
  }
}, 90_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const create = (collection: string, body: object) =>
  stage.client.request<unknown>({ verb: 'create', path: collection, body });
const remove = (object: string) => stage.client.request<unknown>({ verb: 'delete', path: object });
const start = (name: string, node: string, drain: Drain = {}, image = NEW) =>
  stage.upgrade(name, image, [node], { strategy: { ...ROOM, drain } });
const blockersOf = (node: string) => stage.kairosNode(node).status.blockers;
const lastMessage = (node: string) => stage.kairosNode(node).status.lastAttempt?.message ?? '';
const events = (node: string) =>
  stage.kubectl('get', 'events', '--field-selector', `involvedObject.kind=KairosNode,involvedObject.name=${node}`);

const isBlockedBy = (reason: Blocker['reason']) => (found: Blocker[] | undefined) =>
  found?.some((blocker) => blocker.reason === reason) === true;
const untilBlocked = (node: string, reason: Blocker['reason']) =>
  stage.until(`${node} is blocked: ${reason}`, () => blockersOf(node), isBlockedBy(reason), 80_000);

/** How it ended, in its own words where that was not well. */
async function phaseOf(name: string): Promise<string | undefined> {
  const { phase, message } = await stage.ended(name);
  return phase === 'Failed' ? `Failed: ${message ?? ''}` : phase;
}

function expectUpgraded(node: string, image = NEW): void {
  expect(stage.node(node)).toMatchObject({ ready: true, unschedulable: false });
  expect(stage.node(node).owner).toBeUndefined();
  expect(stage.kairosNode(node).status).toMatchObject({ observedVersion: versionIn(image) });
  expect(blockersOf(node)).toBeUndefined();
}

/** Its image was not touched, it is in service, and nothing is left of the attempt. */
function expectGivenBack(node: string): void {
  expect(stage.recording(node).upgradeRuns).toEqual([]);
  expect(stage.node(node)).toMatchObject({ ready: true, unschedulable: false });
  expect(stage.node(node).owner).toBeUndefined();
  expect(stage.kairosNode(node).spec.source).toBeUndefined();
  const { blockers, blockedPods, inHand } = stage.kairosNode(node).status;
  expect({ blockers, blockedPods, inHand }).toEqual({});
}

interface Extras {
  metadata?: object;
  spec?: object;
}

/** A pod of this node, without a controller unless one is given, that runs. Answers its UID. */
async function pod(name: string, node: string, { metadata = {}, spec = {} }: Extras = {}): Promise<string> {
  const body = {
    metadata: { name, labels: { app: name }, ...metadata },
    spec: {
      nodeSelector: { 'kubernetes.io/hostname': node },
      containers: [{ name: 'app', image: 'example.com/app:1' }],
      ...spec,
    },
  };
  await create(PODS, body);
  await untilPod(name, (found) => found?.status.phase === 'Running');
  return (await podNow(name))?.metadata.uid ?? '';
}

interface Pod {
  metadata: { name: string; uid: string };
  status: { phase: string };
}

async function podNow(name: string): Promise<Pod | undefined> {
  const query = { fieldSelector: `metadata.name=${name}` };
  const { items } = await stage.client.request<{ items: Pod[] }>({ verb: 'list', path: PODS, query });
  return items[0];
}

const untilPod = (name: string, holds: (found: Pod | undefined) => boolean) =>
  stage.until(`pod ${name}`, () => podNow(name), holds);

/** A ReplicaSet's like: a controller that makes nothing again, so that a pod that went is gone. */
const owned = (uid: string) => ({
  ownerReferences: [{ apiVersion: 'example.com/v1', kind: 'Machine', name: 'm', uid, controller: true }],
});

async function listed(): Promise<void> {
  const node = 'worker-1';
  const letGo = await stage.holdDrain(node);
  await start('listed', node);
  const blockers = await untilBlocked(node, 'Budget');
  expect(blockers).toEqual([
    {
      pod: expect.stringMatching(/^default\/held-on-worker-1-/),
      reason: 'Budget',
      budget: 'default/held-on-worker-1',
      disruptionsAllowed: 0,
      message: 'held by PodDisruptionBudget held-on-worker-1, which allows 0 disruptions (1 healthy, 1 needed)',
      since: expect.any(String),
    },
  ]);
  expect(stage.kairosNode(node).status.blockedPods).toBe(1);
  const row = await stage.kubectl('get', 'kairosnode', node, '-o', 'wide');
  expect(row).toMatch(/ BLOCKED .*\n.* 1 +pod default\/held-on-worker-1-\S+ is held by PodDisruptionBudget/);
  const since = blockers?.[0]?.since;
  // Two more refusals, at least: nothing is said or written again.
  await new Promise((resolve) => setTimeout(resolve, 12_000));
  expect(blockersOf(node)?.[0]?.since).toBe(since);
  const told = await events(node);
  expect(told.match(/DrainBlocked/g)).toHaveLength(1);
  expect(told).toMatch(/held-on-worker-1, which allows 0 disruptions .*kubectl get pdb -n default/);
  const { inFlight } =
    (await stage.until(
      'the summary',
      () => stage.status('listed'),
      (now) => now?.inFlight?.[0]?.message?.includes('held by') === true,
    )) ?? {};
  expect(inFlight?.[0]).toMatchObject({ name: node, step: 'Drain' });
  await letGo();
  expect(await phaseOf('listed')).toBe('Completed');
  expectUpgraded(node);
}

async function uncordoned(): Promise<void> {
  const node = 'worker-2';
  const letGo = await stage.holdDrain(node);
  await start('uncordoned', node);
  await untilBlocked(node, 'Budget');
  await stage.kubectl('uncordon', node);
  expect(await phaseOf('uncordoned')).toMatch(/^Failed: /);
  expect(lastMessage(node)).toMatch(
    /^somebody uncordoned node worker-2 during its upgrade: it stays in service; .*; its image was not touched$/,
  );
  expectGivenBack(node);
  expect((await stage.kubectl('get', 'pods', '-o', 'name')).includes('held-on-worker-2')).toBe(true);
  await letGo();
}

async function unmarked(): Promise<void> {
  const node = 'worker-3';
  const letGo = await stage.holdDrain(node);
  await start('unmarked', node);
  await untilBlocked(node, 'Budget');
  await stage.kubectl('annotate', 'node', node, 'kairos.io/upgrade-owner-');
  expect(await phaseOf('unmarked')).toMatch(/^Failed: /);
  expect(lastMessage(node)).toMatch(
    /^node worker-3 carries no mark in place of .* left as it is; its image was not touched$/,
  );
  // Who took the mark has the node as it was then: cordoned.
  expect(stage.node(node)).toMatchObject({ unschedulable: true });
  expect(stage.recording(node).upgradeRuns).toEqual([]);
  await stage.kubectl('uncordon', node);
  await letGo();
}

async function deleted(): Promise<void> {
  const node = 'worker-4';
  await stage.holdDrain(node);
  const budget = { namespace: 'default', name: `held-on-${node}` };
  const ladder = { timeout: '8s', onTimeout: 'Delete' } as const;
  await start('no-right', node, ladder);
  expect(await stage.ended('no-right')).toMatchObject({
    phase: 'Failed',
    message: expect.stringMatching(
      /onTimeout: Delete deletes pods .* ServiceAccount kairos-system\/kairos-worker may not: set worker\.mayDeletePods=true/,
    ),
  });
  expect(stage.touched).not.toContain(node);
  await stage.kubectl('apply', '-f', MAY_DELETE);
  await start('not-listed', node, { ...ladder, overridableBudgets: [{ ...budget, name: 'another' }] });
  expect(await phaseOf('not-listed')).toMatch(/^Failed: /);
  expect(lastMessage(node)).toMatch(
    /^drain did not end within 8s: pod .*; pod default\/held-on-worker-4-\S+: PodDisruptionBudget held-on-worker-4 is not among strategy\.drain\.overridableBudgets: nothing was deleted$/,
  );
  expectGivenBack(node);
  await start('deleted', node, { ...ladder, overridableBudgets: [budget] });
  expect(await phaseOf('deleted')).toBe('Completed');
  expectUpgraded(node);
  expect(lastMessage(node)).toMatch(
    /; pods: deleted past their budgets, as the drain did not end within 8s: default\/held-on-worker-4-\S+ \(PodDisruptionBudget held-on-worker-4\)$/,
  );
  expect(await events(node)).toMatch(/Warning +PodsDeleted .*deleted past their budgets/);
}

async function bare(): Promise<void> {
  const node = 'worker-5';
  await pod('bare', node);
  await pod('cache', node, { metadata: owned('c'), spec: { volumes: [{ name: 'tmp', emptyDir: {} }] } });
  await start('bare', node, { deleteEmptyDirData: false });
  expect(await phaseOf('bare')).toMatch(/^Failed: /);
  expect(lastMessage(node)).toBe(
    'node worker-5 was not touched, its drain would refuse a pod without a controller, which nobody would make again: default/bare (delete them, give them one, or set strategy.drain.force: true); a pod with data in an emptyDir: default/cache (move the data, or set strategy.drain.deleteEmptyDirData: true, which deletes it)',
  );
  expect(stage.touched).not.toContain(node);
  expect(await podNow('bare')).toBeDefined();
  await start('forced', node, { force: true });
  expect(await phaseOf('forced')).toBe('Completed');
  expectUpgraded(node);
  expect([await podNow('bare'), await podNow('cache')]).toEqual([undefined, undefined]);
}

async function finalized(): Promise<void> {
  const node = 'worker-6';
  await pod('finalized', node, {
    metadata: { finalizers: ['example.com/keeps'] },
    spec: { terminationGracePeriodSeconds: 1 },
  });
  await remove(`${PODS}/finalized`);
  await start('finalized', node, { timeout: '1m' });
  const [blocker] = (await untilBlocked(node, 'Terminating')) ?? [];
  expect(blocker).toMatchObject({
    pod: 'default/finalized',
    message: expect.stringContaining('a finalizer or its kubelet'),
  });
  await stage.deleteUpgrade('finalized');
  await stage.until(
    'it is given back',
    () => stage.node(node).unschedulable,
    (out) => !out,
  );
  await start('overdue', node, { skipWaitForDeleteTimeout: '2s' });
  expect(await phaseOf('overdue')).toBe('Completed');
  expectUpgraded(node);
  expect(await podNow('finalized')).toBeDefined();
  const path = `${PODS}/finalized`;
  await stage.client.request({ verb: 'merge-patch', path, body: { metadata: { finalizers: null } } });
}

async function completing(): Promise<void> {
  const node = 'worker-7';
  const template = {
    metadata: { labels: { app: 'report' } },
    spec: {
      restartPolicy: 'Never',
      nodeSelector: { 'kubernetes.io/hostname': node },
      containers: [{ name: 'app', image: 'example.com/app:1' }],
    },
  };
  await create('/apis/batch/v1/namespaces/default/jobs', { metadata: { name: 'report' }, spec: { template } });
  const list = () =>
    stage.client.request<{ items: Pod[] }>({ verb: 'list', path: PODS, query: { labelSelector: 'app=report' } });
  const [made] = (await stage.until('its pod runs', list, ({ items }) => items[0]?.status.phase === 'Running')).items;
  await start('completing', node, { waitForCompletion: { timeout: '1m' } });
  const [blocker] = (await untilBlocked(node, 'Completing')) ?? [];
  expect(blocker?.pod).toBe(`default/${made?.metadata.name}`);
  const status = { phase: 'Succeeded', conditions: [{ type: 'Ready', status: 'False', reason: 'PodCompleted' }] };
  await stage.client.request({ verb: 'merge-patch', path: `${PODS}/${made?.metadata.name}/status`, body: { status } });
  expect(await phaseOf('completing')).toBe('Completed');
  expectUpgraded(node);
  // It ended by itself, in this one run.
  expect((await list()).items.map(({ metadata }) => metadata.uid)).toEqual([made?.metadata.uid]);
  expect(await events(node)).not.toContain('DrainBlocked');
}

async function attached(): Promise<void> {
  const node = 'worker-8';
  const driver = 'csi.example.com';
  const capacity = { storage: '1Gi' };
  const volume = (name: string) =>
    create('/api/v1/persistentvolumes', {
      metadata: { name },
      spec: {
        capacity,
        accessModes: ['ReadWriteOnce'],
        csi: { driver, volumeHandle: name },
        claimRef: { namespace: 'default', name: `data-${name}` },
      },
    });
  const claim = (name: string) =>
    create('/api/v1/namespaces/default/persistentvolumeclaims', {
      metadata: { name: `data-${name}` },
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: '',
        volumeName: name,
        resources: { requests: capacity },
      },
    });
  const attachment = (name: string) =>
    create(ATTACHMENTS, {
      metadata: { name: `csi-${name}` },
      spec: { attacher: driver, nodeName: node, source: { persistentVolumeName: name } },
    });
  // Of the second one no pod was moved: it is not waited for.
  for (const name of ['disk-1', 'disk-2']) {
    await volume(name);
    await claim(name);
    await attachment(name);
  }
  const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'data-disk-1' } }];
  await pod('database', node, { metadata: owned('d'), spec: { volumes } });
  await start('detach-late', node, { volumeDetachTimeout: '3s' });
  expect(await phaseOf('detach-late')).toMatch(/^Failed: /);
  expect(lastMessage(node)).toMatch(
    /^volumes were not detached within 3s \(strategy\.drain\.volumeDetachTimeout\): claim default\/data-disk-1 is bound to disk-1, which is still attached to the node: kubectl describe volumeattachment csi-disk-1/,
  );
  expectGivenBack(node);
  await pod('database', node, { metadata: owned('d'), spec: { volumes } });
  await start('detach', node);
  expect((await untilBlocked(node, 'VolumeAttached'))?.map(({ pod }) => pod)).toEqual(['default/data-disk-1']);
  await remove(`${ATTACHMENTS}/csi-disk-1`);
  expect(await phaseOf('detach')).toBe('Completed');
  expectUpgraded(node);
  await stage.kubectl('get', 'volumeattachment', 'csi-disk-2');
}

async function skipped(): Promise<void> {
  const node = 'worker-9';
  const letGo = await stage.holdDrain(node);
  await start('skipped', node, { timeout: '2s', onTimeout: 'Skip' });
  const { rollout } = await stage.ended('skipped');
  expect(rollout).toMatchObject({ verdicts: { Skipped: 1 }, failed: [{ name: node, verdict: 'Skipped' }] });
  expect(lastMessage(node)).toMatch(
    /^drain did not end within 2s: .*; skipped, as strategy\.drain\.onTimeout wants it$/,
  );
  expectGivenBack(node);
  await letGo();
}

/** A pod that is not Ready, and that its budget holds nevertheless; beside it one that no selector takes. */
async function unhealthy(): Promise<void> {
  const node = 'worker-10';
  const mayDelete = () =>
    stage
      .kubectl('auth', 'can-i', 'delete', 'pods', '-A', '--as=system:serviceaccount:kairos-system:kairos-worker')
      .catch(() => 'no');
  await pod('sick', node, { metadata: { ...owned('s'), labels: { app: 'sick', moves: 'yes' } } });
  await pod('stays', node);
  const sick = { conditions: [{ type: 'Ready', status: 'False', reason: 'ContainersNotReady' }] };
  await stage.client.request({ verb: 'merge-patch', path: `${PODS}/sick/status`, body: { status: sick } });
  await create('/apis/policy/v1/namespaces/default/poddisruptionbudgets', {
    metadata: { name: 'sick' },
    spec: { minAvailable: 1, selector: { matchLabels: { app: 'sick' } } },
  });
  await stage.until('the worker may delete', mayDelete, (answer) => answer === 'yes', 90_000);
  const podSelector = { matchLabels: { moves: 'yes' } };
  await start('unhealthy', node, { timeout: '8s', onTimeout: 'DeleteUnhealthy', podSelector });
  const [blocker] = (await untilBlocked(node, 'Budget')) ?? [];
  expect(blocker?.message).toContain('unhealthyPodEvictionPolicy: AlwaysAllow in the budget it could go');
  expect(await phaseOf('unhealthy')).toBe('Completed');
  expectUpgraded(node);
  expect(await podNow('sick')).toBeUndefined();
  expect(await podNow('stays')).toBeDefined();
}

/** A pod that takes all of its grace period, an hour: the strategy gives it a second; then one that is killed. */
async function graceful(): Promise<void> {
  const node = 'worker-11';
  const slow = (name: string) =>
    pod(name, node, {
      metadata: { ...owned('g'), annotations: { [STOPS_LATE_ANNOTATION]: 'true' } },
      spec: { terminationGracePeriodSeconds: 3600 },
    });
  await slow('slow');
  await start('graceful', node, { gracePeriodSeconds: 1 });
  expect(await phaseOf('graceful')).toBe('Completed');
  expectUpgraded(node);
  await slow('slower');
  await start('killed', node, { timeout: '8s', onTimeout: 'Delete', forceDeleteAfter: '1s' }, NEWER);
  expect(await phaseOf('killed')).toBe('Completed');
  expectUpgraded(node, NEWER);
  expect(lastMessage(node)).toMatch(/; pods: killed without a grace period: default\/slower$/);
}

describe('a drain', () => {
  it.each<[string, keyof typeof STORIES]>([
    ['lists what holds it as long as it does, and says it once', 'listed'],
    ['ends at once when somebody uncordons the node, which stays in service', 'uncordoned'],
    ['ends at once when somebody takes our mark, and leaves the node to him', 'unmarked'],
    ['deletes past the listed budgets, only with the right to, and tells it', 'deleted'],
    ['refuses pods before the node is touched, all by name, and evicts them with force', 'bare'],
    ['does not wait for pods that should have been gone, where it need not', 'finalized'],
    ['waits for Jobs to end by themselves', 'completing'],
    ['waits until the volumes of its pods are detached, and for no other', 'attached'],
    ['skips the node at its deadline', 'skipped'],
    ['deletes only pods that are not Ready, and leaves those that it does not select', 'unhealthy'],
    ['gives pods the time that the strategy says, and then none', 'graceful'],
  ])('%s', async (_, story) => told[story], 170_000);
});
