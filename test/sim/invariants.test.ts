import { describe, expect, it } from '@jest/globals';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { NodeRecording } from '../../sim/cluster.ts';
import { idealMs } from '../../sim/demo/figures.ts';
import { readDemoOptions } from '../../sim/demo/options.ts';
import { checkInvariants, type Evidence } from '../../sim/invariants.ts';

const TARGET = 'v2.0.0-k3sv1.33.9+k3s1';

const node = (name: string, change: Partial<NodeView> = {}): NodeView => ({
  name,
  uid: `uid-${name}`,
  resourceVersion: '1',
  creationTimestamp: '2026-01-01T00:00:00Z',
  labels: {},
  unschedulable: false,
  ready: true,
  bootID: `${name}-boot-2`,
  kubeletVersion: 'v1.33.9+k3s1',
  architecture: 'amd64',
  controlPlane: name.startsWith('cp'),
  pressures: [],
  ...change,
});

const kairosNode = (name: string, status: Partial<KairosNodeView['status']> = {}): KairosNodeView => ({
  name,
  uid: `kn-${name}`,
  resourceVersion: '1',
  generation: 1,
  spec: {},
  specManagers: [],
  status: {
    observedVersion: TARGET,
    bootState: 'active',
    bootID: `${name}-boot-2`,
    lastAttempt: {
      rollout: 'r',
      specGeneration: 1,
      image: 'i',
      verdict: 'Succeeded',
      finishedAt: '2026-01-01T00:00:00Z',
    },
    ...status,
  },
});

const recording = (name: string, change: Partial<NodeRecording> = {}): NodeRecording => ({
  node: name,
  controlPlane: name.startsWith('cp'),
  upgradeMs: 1000,
  bootMs: 2000,
  boots: [
    { bootID: `${name}-boot-1`, slot: 'active', atMs: 0 },
    { bootID: `${name}-boot-2`, slot: 'active', atMs: 10 },
  ],
  upgradeRuns: [{ bootID: `${name}-boot-1`, atMs: 5, exitCode: 0 }],
  outages: [],
  ...change,
});

const NAMES = ['cp-1', 'cp-2', 'w-1', 'w-2'];
const good: Evidence = {
  target: TARGET,
  maxUnavailable: 1,
  moments: [
    { atMs: 1, controlPlane: ['cp-1'], workers: [] },
    { atMs: 2, controlPlane: [], workers: [] },
    { atMs: 3, controlPlane: ['cp-2'], workers: [] },
    { atMs: 4, controlPlane: [], workers: [] },
    { atMs: 5, controlPlane: [], workers: ['w-1'] },
    { atMs: 6, controlPlane: [], workers: ['w-2'] },
    { atMs: 7, controlPlane: [], workers: [] },
  ],
  breaches: [],
  nodes: NAMES.map((name) => node(name)),
  kairosNodes: NAMES.map((name) => kairosNode(name)),
  recordings: NAMES.map((name) => recording(name)),
};

const brokenIn = (change: Partial<Evidence>) =>
  checkInvariants({ ...good, ...change })
    .filter(({ broken }) => broken.length > 0)
    .map(({ name }) => name);

describe('the promises of an upgrade', () => {
  it('hold for an upgrade that went well', () => {
    expect(brokenIn({})).toEqual([]);
  });

  it('do not ask for disruption budgets where there is one node, and say so', () => {
    const alone = { nodes: [node('cp-1')], breaches: [{ budget: 'shop/web', healthy: 0, wanted: 4 }] };
    const names = checkInvariants({ ...good, ...alone }).map(({ name }) => name);
    expect(names).toContain('disruption budgets: not asked, one node has nowhere to move its pods');
    expect(brokenIn(alone)).toEqual([]);
  });

  it.each<[string, Partial<Evidence>, string]>([
    [
      'two control-plane nodes out at once',
      { moments: [{ atMs: 1, controlPlane: ['cp-1', 'cp-2'], workers: [] }] },
      'control plane before workers, and never two at once',
    ],
    [
      'a worker out before the last control-plane node',
      {
        moments: [
          { atMs: 1, controlPlane: [], workers: ['w-1'] },
          { atMs: 2, controlPlane: ['cp-1'], workers: [] },
        ],
      },
      'control plane before workers, and never two at once',
    ],
    [
      'two control-plane machines without power at once, whatever the API server said',
      {
        recordings: NAMES.map((name) =>
          recording(name, name.startsWith('cp') ? { outages: [{ fromMs: 1, toMs: 9 }] } : {}),
        ),
      },
      'control plane before workers, and never two at once',
    ],
    [
      'more workers out than allowed',
      { moments: [{ atMs: 5, controlPlane: [], workers: ['w-1', 'w-2'] }] },
      'never more than 1 workers out',
    ],
    [
      'a disruption budget broken',
      { breaches: [{ budget: 'shop/web', healthy: 3, wanted: 4 }] },
      'every disruption budget held',
    ],
    [
      'a node on its old version',
      { kairosNodes: NAMES.map((name) => kairosNode(name, name === 'w-2' ? { observedVersion: 'v1.0.0' } : {})) },
      'every node verified on the target by its agent, from a new boot',
    ],
    [
      'a node on its passive image',
      { kairosNodes: NAMES.map((name) => kairosNode(name, name === 'w-2' ? { bootState: 'passive' } : {})) },
      'every node verified on the target by its agent, from a new boot',
    ],
    [
      'a report from an older boot',
      { kairosNodes: NAMES.map((name) => kairosNode(name, name === 'w-2' ? { bootID: 'w-2-boot-1' } : {})) },
      'every node verified on the target by its agent, from a new boot',
    ],
    [
      'a node left cordoned',
      { nodes: NAMES.map((name) => node(name, { unschedulable: name === 'w-1' })) },
      'nothing left cordoned or marked',
    ],
    [
      'a node left marked',
      { nodes: NAMES.map((name) => node(name, name === 'w-1' ? { owner: 'node/x' } : {})) },
      'nothing left cordoned or marked',
    ],
    [
      'an upgrade that ran twice',
      {
        recordings: NAMES.map((name) => {
          const once = recording(name);
          return name === 'w-1' ? { ...once, upgradeRuns: [...once.upgradeRuns, ...once.upgradeRuns] } : once;
        }),
      },
      "each node's upgrade ran exactly once",
    ],
  ])('are seen to be broken by %s', (_what, change, name) => {
    expect(brokenIn(change)).toContain(name);
  });
});

describe('the ideal duration', () => {
  it('is the control plane in a row, then the workers over the lanes, and one pull', () => {
    const parts = { drainMs: new Map([['w-1', 500]]), pullMs: 100, podStartMs: 50, soakMs: 1000, places: 2 };
    // Each node: two pod starts of 50, 1000 to write, 2000 to boot, 1000 to soak.
    expect(idealMs(good.recordings, parts)).toBe(100 + 2 * 4100 + 4600);
  });
});

describe('the options of the demo', () => {
  it.each([
    ['12 nodes by default', {}, { controlPlane: 3, workers: 9, keep: false }],
    ['one control-plane node below four nodes', { NODES: '3' }, { controlPlane: 1, workers: 2, keep: false }],
    ['one node alone', { NODES: '1', KEEP: '1' }, { controlPlane: 1, workers: 0, keep: true }],
  ])('are %s', (_what, env, options) => {
    expect(readDemoOptions(env)).toEqual(options);
  });

  it.each(['0', 'many', '2.5', '1001', '-1'])('refuse NODES=%s and say what to write', (NODES) => {
    expect(() => readDemoOptions({ NODES })).toThrow(/write a whole number of nodes from 1 to 1000/);
  });
});
