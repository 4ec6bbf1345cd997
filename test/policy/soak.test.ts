import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { findTrouble, notReadyBefore, restartsOf, stillNotReady, type SoakedPod } from '../../policy/soak.ts';

const CHECKS = { daemonSets: true, maxRestarts: 3, timeoutMs: 600_000 };

const pod = (more: Partial<SoakedPod> = {}): SoakedPod => ({
  namespace: 'kube-system',
  name: 'cni-x1',
  uid: 'uid-cni-x1',
  labels: {},
  phase: 'Running',
  ready: true,
  deleting: false,
  mirror: false,
  owner: { kind: 'DaemonSet', name: 'cni' },
  containers: [{ name: 'c', restarts: 0 }],
  ...more,
});
const container = (more: Partial<SoakedPod['containers'][number]>) => [{ name: 'c', restarts: 0, ...more }];
const trouble = (pods: SoakedPod[], checks = CHECKS, before?: string[]) => findTrouble(pods, checks, {}, before)?.text;

describe('a pod that stands in the way of a soak', () => {
  it.each<[string, Partial<SoakedPod>, string]>([
    ['is not Ready', { ready: false }, 'is not Ready: it runs, but is not ready to serve'],
    ['has not begun', { ready: false, phase: 'Pending' }, 'is not Ready: it is Pending, and has no words'],
    [
      'is refused by the kubelet',
      { ready: false, phase: 'Failed', reason: 'NodeAffinity', message: 'does not match', containers: [] },
      'is not Ready: NodeAffinity does not match',
    ],
    [
      'cannot be pulled',
      { ready: false, containers: container({ waiting: { reason: 'ErrImagePull', message: 'not found' } }) },
      'is not Ready: container c waits: ErrImagePull not found',
    ],
    [
      'crashes again and again',
      {
        ready: false,
        containers: container({
          waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s' },
          lastEnd: { exitCode: 1, reason: 'Error', message: 'no such device\n' },
        }),
      },
      'is not Ready: container c waits: CrashLoopBackOff back-off 10s; it ended with 1 (Error): no such device',
    ],
    [
      'ended',
      { ready: false, containers: container({ terminated: { exitCode: 137, reason: 'OOMKilled' } }) },
      'is not Ready: container c ended with 137 (OOMKilled)',
    ],
    [
      'is held up by an init container',
      {
        ready: false,
        containers: container({ waiting: { reason: 'PodInitializing', message: '' } }),
        initContainers: [
          {
            name: 'mount',
            restarts: 2,
            waiting: { reason: 'CrashLoopBackOff', message: '' },
            lastEnd: { exitCode: 2 },
          },
        ],
      },
      'is not Ready: init container mount waits: CrashLoopBackOff; it ended with 2',
    ],
  ])('%s, and says so in its own words', (_, more, words) => {
    expect(trouble([pod(more)])).toBe(`pod kube-system/cni-x1 of DaemonSet cni ${words}`);
  });

  it('may be a static one', () => {
    const etcd = pod({ name: 'etcd-cp-1', mirror: true, ready: false, owner: { kind: 'Node', name: 'cp-1' } });
    expect(trouble([etcd])).toMatch(/^static pod kube-system\/etcd-cp-1 is not Ready/);
  });

  it('restarted more often than it may, since the soak began', () => {
    const app = pod({ owner: { kind: 'ReplicaSet', name: 'app' }, containers: container({ restarts: 9 }) });
    const from = (restarts: number) => ({ 'uid-cni-x1/c': restarts });
    expect(findTrouble([app], CHECKS, from(6))).toBeUndefined();
    expect(findTrouble([app], CHECKS, from(5))?.text).toMatch(
      /^container c of pod kube-system\/cni-x1 of ReplicaSet app restarted 4 times/,
    );
    expect(findTrouble([app], CHECKS, {})?.text).toMatch(/restarted 9 times/);
  });
});

describe('no pod stands in the way of a soak', () => {
  it.each<[string, Partial<SoakedPod>]>([
    ['that is Ready', {}],
    ['that another node can run', { ready: false, owner: { kind: 'ReplicaSet', name: 'app' } }],
    ['that is leaving', { ready: false, deleting: true }],
    ['that has done its work', { ready: false, phase: 'Succeeded' }],
    ['of an upgrade', { ready: false, labels: { 'kairos.io/upgrade-step': 'evidence' } }],
  ])('%s', (_, more) => {
    expect(trouble([pod(more)])).toBeUndefined();
  });

  it('that is left out, or was not Ready before', () => {
    const broken = pod({ ready: false, labels: { app: 'cni' } });
    expect(trouble([broken], { ...CHECKS, daemonSets: false })).toBeUndefined();
    const ignorePods = { matchLabels: { app: 'cni' } };
    expect(findTrouble([broken], { ...CHECKS, ignorePods }, {})).toBeUndefined();
    expect(trouble([broken], CHECKS, ['DaemonSet kube-system/cni'])).toBeUndefined();
    expect(trouble([broken], CHECKS, ['DaemonSet kube-system/other'])).toBeDefined();
  });
});

describe('what was not Ready before', () => {
  it('is named by what outlives the pod, DaemonSets first', () => {
    const static1 = pod({ name: 'etcd-cp-1', mirror: true, ready: false, owner: { kind: 'Node', name: 'cp-1' } });
    const app = pod({ name: 'app-1', namespace: 'default', ready: false, owner: { kind: 'ReplicaSet', name: 'app' } });
    const pods = [app, pod(), pod({ ready: false, owner: { kind: 'DaemonSet', name: 'csi' } }), static1];
    expect(notReadyBefore(pods)).toEqual([
      'DaemonSet kube-system/csi',
      'pod kube-system/etcd-cp-1',
      'pod default/app-1',
    ]);
    expect(stillNotReady([pod({ ready: true })], ['DaemonSet kube-system/cni'])).toEqual([]);
    expect(stillNotReady([pod({ ready: false })], ['DaemonSet kube-system/cni'])).toEqual([
      'DaemonSet kube-system/cni',
    ]);
  });
});

const anyPod: fc.Arbitrary<SoakedPod> = fc
  .record({
    number: fc.nat(8),
    phase: fc.constantFrom('Pending', 'Running', 'Failed', 'Succeeded'),
    ready: fc.boolean(),
    deleting: fc.boolean(),
    mirror: fc.boolean(),
    kind: fc.constantFrom('DaemonSet', 'ReplicaSet', 'StatefulSet'),
    restarts: fc.nat(20),
  })
  .map(({ number, kind, restarts, ...rest }) =>
    pod({
      ...rest,
      name: `p-${number}`,
      uid: `uid-${number}`,
      owner: { kind, name: `o-${number}` },
      containers: container({ restarts }),
    }),
  );
const somePods = fc.uniqueArray(anyPod, { selector: ({ name }) => name, maxLength: 9 });

describe('for any pods', () => {
  it('what was not Ready before, and has not changed, never keeps the node', () => {
    fc.assert(
      fc.property(somePods, (pods) => {
        expect(findTrouble(pods, CHECKS, restartsOf(pods), notReadyBefore(pods))).toBeUndefined();
      }),
    );
  });

  it('what is named does not depend on the order in which they come', () => {
    fc.assert(
      fc.property(somePods, fc.infiniteStream(fc.nat()), (pods, draws) => {
        const shuffled = pods.map((one) => ({ one, by: draws.next().value })).sort((a, b) => a.by - b.by);
        const again = shuffled.map(({ one }) => one);
        expect(findTrouble(again, CHECKS, {})).toEqual(findTrouble(pods, CHECKS, {}));
        expect(notReadyBefore(again)).toEqual(notReadyBefore(pods));
      }),
    );
  });

  it('there is trouble where, and only where, one that counts is not Ready or restarted too often', () => {
    fc.assert(
      fc.property(somePods, (pods) => {
        const bad = pods.some(
          ({ deleting, phase, ready, mirror, owner, containers }) =>
            !deleting &&
            phase !== 'Succeeded' &&
            ((!ready && (mirror || owner?.kind === 'DaemonSet')) || containers.some(({ restarts }) => restarts > 3)),
        );
        expect(findTrouble(pods, CHECKS, {}) !== undefined).toBe(bad);
      }),
    );
  });
});
