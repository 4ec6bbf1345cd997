import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isReason } from '../../kube/errors.ts';
import { kairosImage } from '../../sim/images.ts';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

const AHEAD = 'quay.io/kairos/hadron:v4.1.0-k3s-v1.34';
const MOVES = 'quay.io/kairos/hadron:moves';
const SCRATCH = 'quay.io/kairos/scratch:1';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces/medik8s-leases/leases';
const ALL = ['worker-1', 'worker-2', 'worker-3'];

let stage: Stage;

beforeAll(async () => {
  const images = [
    kairosImage(AHEAD, 'v4.1.0', { kubernetes: 'v1.34.1+k3s1' }),
    kairosImage(MOVES, 'v4.0.5'),
    { reference: SCRATCH, startError: 'exec: "cp": executable file not found in $PATH' },
  ];
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 3, images, nodeLeases: true });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

interface Lease {
  spec: { holderIdentity: string; leaseDurationSeconds: number; acquireTime: string; renewTime: string };
  metadata: { ownerReferences?: { kind: string; name: string; uid: string }[] };
}

async function leaseOn(node: string): Promise<Lease | undefined> {
  try {
    return await stage.client.request<Lease>({ verb: 'get', path: `${LEASES}/node-${node}` });
  } catch (error) {
    if (isReason(error, 'NotFound')) return undefined;
    throw error;
  }
}

const pressure = (node: string, status: 'True' | 'False') => {
  const condition = { type: 'DiskPressure', status, lastTransitionTime: '2026-03-01T10:00:00Z' };
  const patch = JSON.stringify({ status: { conditions: [condition] } });
  return stage.kubectl('patch', 'node', node, '--subresource=status', '-p', patch);
};

/** Resolves once the KairosNode says that its node waits at this gate. */
const waitsAt = (node: string, gate: string) =>
  stage.until(
    `${node} waits at ${gate}`,
    () => stage.kairosNode(node).status,
    ({ step, message }) => step === 'Gate' && message?.startsWith(`waiting at the gate ${gate}: `) === true,
  );

describe('a node at its gates', () => {
  it('waits, named with what it waits for, until it is free, and is then kept from others while it is in hand', async () => {
    const now = new Date().toISOString().replace('Z', '000Z');
    const times = { acquireTime: now, renewTime: now, leaseDurationSeconds: 3600, leaseTransitions: 0 };
    const body = { metadata: { name: 'node-worker-1' }, spec: { holderIdentity: 'node-maintenance', ...times } };
    await stage.client.request({ verb: 'create', path: LEASES, body });
    await pressure('worker-2', 'True');
    await stage.kubectl('cordon', 'worker-3');
    for (const name of ALL) await stage.upgrade(`gate-${name}`, NEW, [name], { strategy: { maxUnavailable: 3 } });

    const leased = await waitsAt('worker-1', 'Lease');
    expect(leased.message).toContain(`in the hand of node-maintenance since ${now}`);
    expect(leased.message).toContain('kubectl get lease -n medik8s-leases node-worker-1');
    expect(leased).not.toHaveProperty('inHand');
    const pressed = await waitsAt('worker-2', 'Pressure');
    expect(pressed.message).toContain('DiskPressure since 2026-03-01T10:00:00Z');
    const cordoned = await waitsAt('worker-3', 'Cordon');
    expect(cordoned.message).toContain('kubectl uncordon worker-3');
    const listed = await stage.until(
      'the NodeOpUpgrade lists it',
      () => stage.status('gate-worker-3'),
      (status) => status?.inFlight?.[0]?.step === 'Gate',
    );
    expect(listed).toMatchObject({
      nodes: { inFlight: 0 },
      inFlight: [{ name: 'worker-3', message: cordoned.message }],
    });
    expect(ALL.map((name) => stage.node(name).owner)).toEqual([undefined, undefined, undefined]);

    await stage.client.request({ verb: 'delete', path: `${LEASES}/node-worker-1` });
    const ours = await stage.until(
      'its Lease is ours',
      () => leaseOn('worker-1'),
      (lease) => lease !== undefined,
    );
    expect(ours).toMatchObject({
      spec: { holderIdentity: 'kairos-operator', leaseDurationSeconds: 3600, leaseTransitions: 0 },
      metadata: { ownerReferences: [{ kind: 'Node', name: 'worker-1', uid: stage.node('worker-1').uid }] },
    });
    expect(stage.node('worker-1').owner).toMatch(/^node\//);
    await pressure('worker-2', 'False');
    await stage.kubectl('uncordon', 'worker-3');
    for (const name of ALL) {
      expect(await stage.ended(`gate-${name}`)).toMatchObject({ phase: 'Completed', nodes: { summary: '1/1' } });
      expect(stage.kairosNode(name).status).not.toHaveProperty('step');
      expect(await leaseOn(name)).toBeUndefined();
    }
    await stage.cleanedUp();
  }, 150_000);
});

describe('a rollout is refused before any node is touched', () => {
  it('where its workers would become newer than the control plane', async () => {
    stage.forgetTouched();
    await stage.upgrade('ahead', AHEAD, ALL, { stopOnFailure: false });
    const status = await stage.ended('ahead');
    expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: {}, failed: [] } });
    expect(status.message).toBe(
      "stopped: Kubernetes 1.34 in the image is newer than the control plane's 1.33: upgrade the control plane first; 3 nodes were not touched",
    );
    expect(stage.touched).toEqual([]);
    await stage.cleanedUp();
  }, 60_000);

  it('at once where its image has no cp, long before the deadline of the pull', async () => {
    await stage.upgrade('scratch', SCRATCH, ['worker-1']);
    const status = await stage.ended('scratch');
    expect(status.message).toMatch(
      /image quay\.io\/kairos\/scratch:1 has no program cp: it is not a Kairos image; .*StartError/,
    );
    expect(stage.touched).toEqual([]);
    await stage.cleanedUp();
  }, 60_000);
});

describe('a tag that moves while the control plane is upgraded', () => {
  it('stops the rollout before a worker gets the other image; what was begun goes on by its digest', async () => {
    const before = stage.cluster.images.find(MOVES);
    await stage.upgrade('moves', MOVES, undefined, { strategy: { maxUnavailable: 3 } });
    await stage.until(
      'cp-1 reboots',
      () => stage.kairosNode('cp-1').status.step,
      (step) => step === 'Reboot',
    );
    expect(stage.kairosNode('cp-1').status.inHand?.pinned).toBe(before?.imageID);
    stage.forgetTouched();
    const moved = stage.cluster.images.add(kairosImage(MOVES, 'v4.0.5', { kubernetes: 'v1.33.10+k3s1' }));
    await stage.cluster.restartKwok();
    const status = await stage.ended('moves');

    expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: { Succeeded: 1 } } });
    expect(status.message).toContain(`image ${MOVES} changed during the rollout: it was v4.0.5-k3sv1.33.9+k3s1`);
    expect(status.message).toContain(moved.digest);
    expect(stage.kairosNode('cp-1').status.stamp?.digest).toBe(before?.digest);
    expect(ALL.map((name) => stage.kairosNode(name).status.observedVersion)).toEqual(ALL.map(() => versionIn(NEW)));
    await stage.cleanedUp();
  }, 90_000);
});

describe('a Lease that nobody renews any more', () => {
  it('is waited for until it has run out, and then taken over', async () => {
    const now = new Date().toISOString().replace('Z', '000Z');
    const spec = { holderIdentity: 'NodeHealthCheck-a', leaseDurationSeconds: 5, acquireTime: now, renewTime: now };
    const body = { metadata: { name: 'node-worker-2' }, spec: { ...spec, leaseTransitions: 4 } };
    await stage.client.request({ verb: 'create', path: LEASES, body });
    await stage.upgrade('runs-out', NEWER, ['worker-2']);
    await waitsAt('worker-2', 'Lease');
    const taken = await stage.until(
      'the Lease is ours',
      () => leaseOn('worker-2'),
      (lease) => lease?.spec.holderIdentity === 'kairos-operator',
    );
    expect(taken).toMatchObject({ spec: { leaseTransitions: 5 } });
    expect(await stage.ended('runs-out')).toMatchObject({ phase: 'Completed' });
    expect(await leaseOn('worker-2')).toBeUndefined();
  }, 90_000);
});
