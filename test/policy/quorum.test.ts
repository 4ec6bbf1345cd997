import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { OutNode } from '../../policy/budget.ts';
import {
  datastoreOf,
  majorityOf,
  quorumLost,
  quorumWarning,
  type ControlPlaneNode,
  type Datastore,
  type EtcdPod,
} from '../../policy/quorum.ts';

const ROLE = { 'node-role.kubernetes.io/etcd': 'true' };
const server = (name: string, change: Partial<ControlPlaneNode> = {}): ControlPlaneNode => ({
  name,
  ready: true,
  labels: ROLE,
  kubeletVersion: 'v1.33.9+k3s1',
  ...change,
});
const kubeadm = (name: string, change: Partial<ControlPlaneNode> = {}) =>
  server(name, { labels: {}, kubeletVersion: 'v1.33.9', ...change });
const three = (make = server) => ['cp-1', 'cp-2', 'cp-3'].map((name) => make(name));
const podsOn = (...nodes: string[]): EtcdPod[] => nodes.map((nodeName) => ({ nodeName, ready: true }));
const marked = (name: string, order: number, more: Partial<OutNode> = {}): OutNode => ({
  name,
  controlPlane: true,
  marked: true,
  order,
  ...more,
});

describe('where a cluster keeps its state', () => {
  it.each<[string, ControlPlaneNode[], EtcdPod[], Datastore]>([
    [
      'the nodes of the etcd role, down ones and learners included',
      [server('cp-10'), server('cp-2', { ready: false }), server('cp-1', { etcdVoter: false })],
      [],
      {
        kind: 'Etcd',
        seenBy: 'Role',
        members: [
          { name: 'cp-1', trouble: 'does not vote (EtcdIsVoter)' },
          { name: 'cp-2', trouble: 'is not Ready' },
          { name: 'cp-10' },
        ],
      },
    ],
    [
      'a node that is down and said to vote, as its condition stays',
      [server('cp-1', { ready: false, etcdVoter: true })],
      [],
      { kind: 'Etcd', seenBy: 'Role', members: [{ name: 'cp-1', trouble: 'is not Ready' }] },
    ],
    [
      'only those with the role, where servers without etcd are among them',
      [server('cp-1'), server('api-1', { labels: {} })],
      [],
      { kind: 'Etcd', seenBy: 'Role', members: [{ name: 'cp-1' }] },
    ],
    [
      'every control-plane node of kubeadm, one without its pod as a member that is down',
      three(kubeadm),
      [{ nodeName: 'cp-2', ready: false }, ...podsOn('cp-1', 'elsewhere')],
      {
        kind: 'Etcd',
        seenBy: 'Pods',
        members: [
          { name: 'cp-1' },
          { name: 'cp-2', trouble: 'has an etcd pod that is not Ready' },
          { name: 'cp-3', trouble: 'has no etcd pod' },
        ],
      },
    ],
    ['SQLite, on one k3s server without the role', [server('cp-1', { labels: {} })], [], { kind: 'SQLite' }],
    [
      'a database outside, with several of them',
      three((name) => server(name, { labels: {} })),
      [],
      { kind: 'External' },
    ],
    [
      'the same for RKE2, whose version may be written without a plus',
      three((name) => server(name, { labels: {}, kubeletVersion: 'v1.33.9-rke2r1' })),
      [],
      { kind: 'External' },
    ],
    [
      'what nothing shows, taken for etcd on every control-plane node: k0s that also works, or kubeadm with etcd outside',
      [kubeadm('cp-1', { kubeletVersion: 'v1.33.9+k0s' }), kubeadm('cp-2', { ready: false })],
      [],
      { kind: 'Etcd', seenBy: 'Assumed', members: [{ name: 'cp-1' }, { name: 'cp-2', trouble: 'is not Ready' }] },
    ],
    ['nothing that is seen, where no control-plane node is a node', [], podsOn('w-1'), { kind: 'NotVisible' }],
  ])('is %s', (_, nodes, pods, expected) => {
    expect(datastoreOf(nodes, pods)).toEqual(expected);
  });
});

describe('a member may go', () => {
  const down = (name: string) => server(name, { ready: false });
  it.each<[string, ControlPlaneNode[], OutNode[], number | undefined, RegExp | undefined]>([
    ['where it is the only one', [server('cp-1')], [], undefined, undefined],
    [
      'where there are two, which cannot keep a majority anyway',
      [server('cp-1'), down('cp-2')],
      [],
      undefined,
      undefined,
    ],
    ['where three are healthy', three(), [], undefined, undefined],
    [
      'not where one of the others is down',
      [server('cp-1'), down('cp-2'), server('cp-3')],
      [],
      undefined,
      /of its 3 members \(cp-1, cp-2, cp-3\) 1 would be left, and 2 are needed; cp-2 is not Ready$/,
    ],
    [
      'though it is itself the one that is down',
      [down('cp-1'), server('cp-2'), server('cp-3')],
      [],
      undefined,
      undefined,
    ],
    [
      'not where one of the others has no vote yet',
      [server('cp-1'), server('cp-2'), server('cp-3', { etcdVoter: false })],
      [],
      undefined,
      /cp-3 does not vote/,
    ],
    ['not while another one is in hand', three(), [marked('cp-2', 3)], undefined, /cp-2 is in hand/],
    ['not after one that was marked before it', three(), [marked('cp-2', 3)], 5, /cp-2 is in hand/],
    ['before one that was marked after it', three(), [marked('cp-2', 7)], 5, undefined],
    ['while another one is held, and Ready', three(), [marked('cp-2', 0, { held: true })], undefined, undefined],
    [
      'with one of five down, and not with two',
      [...three(), down('cp-4'), down('cp-5')],
      [],
      undefined,
      /of its 5 members \(cp-1, cp-2, cp-3, cp-4, cp-5\) 2 would be left, and 3 are needed; cp-4 is not Ready, cp-5 is not/,
    ],
    ['with one of five down', [...three(), server('cp-4'), down('cp-5')], [], undefined, undefined],
    ['not where four have one that is down', [...three(), down('cp-4')], [], undefined, /2 would be left, and 3/],
  ])('%s', (_, nodes, out, order, words) => {
    const lost = quorumLost(datastoreOf(nodes, []), 'cp-1', out, order);
    if (words === undefined) expect(lost).toBeUndefined();
    else expect(lost).toMatch(words);
  });

  it.each<[string, Datastore]>([
    ['the database is outside', { kind: 'External' }],
    ['it is SQLite', { kind: 'SQLite' }],
    ['the control plane is not visible', { kind: 'NotVisible' }],
    ['it is no member', datastoreOf([server('cp-2'), server('cp-3'), down('cp-4')], [])],
  ])('where %s', (_, datastore) => {
    expect(quorumLost(datastore, 'cp-1', [])).toBeUndefined();
  });
});

describe('whatever the members, their health, and who marks when', () => {
  const members = fc.array(
    fc.record({ ready: fc.boolean(), etcdVoter: fc.constantFrom(true, true, false, undefined) }),
    {
      minLength: 1,
      maxLength: 9,
    },
  );
  const node = (health: { ready: boolean; etcdVoter: boolean | undefined }, n: number) => {
    const { ready, etcdVoter } = health;
    return server(`cp-${n + 1}`, { ready, ...(etcdVoter !== undefined && { etcdVoter }) });
  };

  it('no member goes whose going would leave three or more without a majority', () => {
    const delays = fc.array(fc.nat(9), { minLength: 9, maxLength: 9 });
    fc.assert(
      fc.property(members, fc.array(fc.nat(8), { maxLength: 9 }), delays, (healths, wanted, asks) => {
        const nodes = healths.map(node);
        const datastore = datastoreOf(nodes, []);
        const marks = [...new Set(wanted.map((n) => nodes[n % nodes.length]?.name ?? ''))];
        // Each marks in this order, and counts at a moment when the watch has delivered at least its own mark.
        const through = marks.filter((name, n) => {
          const seen = marks.slice(0, n + 1 + (asks[n] ?? 0)).map((other, order) => marked(other, order + 1));
          return quorumLost(datastore, name, seen, n + 1) === undefined;
        });
        const left = nodes.filter((one) => one.ready && one.etcdVoter !== false && !through.includes(one.name)).length;
        if (nodes.length >= 3 && through.length > 0) expect(left).toBeGreaterThanOrEqual(majorityOf(nodes.length));
        if (nodes.length < 3) expect(through).toEqual(marks);
      }),
    );
  });

  it('one goes where all are healthy and nobody else is out: a control plane can always be upgraded', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(8), (count, which) => {
        const nodes = Array.from({ length: count }, (_, n) => node({ ready: true, etcdVoter: true }, n));
        expect(quorumLost(datastoreOf(nodes, []), `cp-${(which % count) + 1}`, [])).toBeUndefined();
      }),
    );
  });
});

describe('a plan warns', () => {
  it.each<[string, Datastore, RegExp | undefined]>([
    ['of two members', datastoreOf([server('cp-1'), server('cp-2')], []), /etcd has two members, cp-1 and cp-2/],
    ['of a control plane that it cannot see', datastoreOf([], []), /^control plane not visible/],
    ['where it can only assume', datastoreOf(three(kubeadm), []), /nothing shows where etcd runs: each of the 3/],
    ['of nothing with three', datastoreOf(three(), []), undefined],
    ['of nothing with one', datastoreOf([kubeadm('cp-1')], []), undefined],
    ['of nothing with a database outside', { kind: 'External' }, undefined],
  ])('%s', (_, datastore, words) => {
    if (words === undefined) expect(quorumWarning(datastore)).toBeUndefined();
    else expect(quorumWarning(datastore)).toMatch(words);
  });
});
