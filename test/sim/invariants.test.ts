import { describe, expect, it } from '@jest/globals';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { NodeRecording } from '../../sim/cluster.ts';
import { idealMs } from '../../sim/demo/figures.ts';
import { checkFallback, checkInvariants, type Evidence, type FallbackEvidence } from '../../sim/invariants.ts';

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

describe('the promises of an upgrade after a fallback', () => {
  it('ask for one run more on the node that fell back, and for no other', () => {
    const twice = NAMES.map((name) => {
      const once = recording(name);
      return name === 'cp-1' ? { ...once, upgradeRuns: [...once.upgradeRuns, ...once.upgradeRuns] } : once;
    });
    const name = "each node's upgrade ran exactly once, cp-1 2 times";
    const writes = { 'cp-1': 2 };
    expect(brokenIn({ recordings: twice, writes })).toEqual([]);
    expect(brokenIn({ writes })).toEqual([name]);
    const all = NAMES.map((name) => ({ ...recording(name), upgradeRuns: twice[0]?.upgradeRuns ?? [] }));
    expect(brokenIn({ recordings: all, writes })).toEqual([name]);
  });
});

const OLD = 'v1.0.0-k3sv1.33.9+k3s1';
const isFallen = (name: string) => name === 'cp-1';
const untouched = (name: string): NodeRecording => ({
  ...recording(name),
  boots: [{ bootID: `${name}-boot-2`, slot: 'active', atMs: 0 }],
  upgradeRuns: [],
});
const fellBack = kairosNode('cp-1', { observedVersion: OLD, bootState: 'passive' });
const attempt = (verdict: 'RolledBack' | 'Succeeded') => ({
  rollout: 'r',
  specGeneration: 1,
  image: 'i',
  verdict,
  finishedAt: '2026-01-01T00:00:00Z',
});
const fallback: FallbackEvidence = {
  ...good,
  fallen: 'cp-1',
  from: OLD,
  moments: [{ atMs: 1, controlPlane: ['cp-1'], workers: [] }],
  kairosNodes: NAMES.map((name) => {
    if (isFallen(name)) return { ...fellBack, status: { ...fellBack.status, lastAttempt: attempt('RolledBack') } };
    const { lastAttempt: _none, ...status } = kairosNode(name, { observedVersion: OLD }).status;
    return { ...kairosNode(name), status };
  }),
  recordings: NAMES.map((name) =>
    isFallen(name)
      ? recording(name, {
          boots: [
            { bootID: 'cp-1-boot-1', slot: 'active', atMs: 0 },
            { bootID: 'cp-1-boot-2', slot: 'passive', atMs: 9 },
          ],
        })
      : untouched(name),
  ),
};
const brokenAfter = (change: Partial<FallbackEvidence>) =>
  checkFallback({ ...fallback, ...change })
    .filter(({ broken }) => broken.length > 0)
    .map(({ name }) => name);
const changed = (name: string, change: Partial<KairosNodeView['status']>) =>
  fallback.kairosNodes.map((one) => (one.name === name ? { ...one, status: { ...one.status, ...change } } : one));
const recorded = (name: string, change: Partial<NodeRecording>) =>
  fallback.recordings.map((one) => (one.node === name ? { ...one, ...change } : one));

describe('the promises of an upgrade whose image does not boot', () => {
  const SERVES = `cp-1 fell back, and serves ${OLD} from its passive image`;
  const OTHERS = 'no other node was touched';

  it('hold where one node fell back', () => {
    expect(brokenAfter({})).toEqual([]);
  });

  it.each<[string, Partial<FallbackEvidence>, string]>([
    ['no node that fell back', { fallen: '' }, ' fell back, and serves v1.0.0-k3sv1.33.9+k3s1 from its passive image'],
    ['a node that is not Ready', { nodes: NAMES.map((name) => node(name, { ready: name !== 'cp-1' })) }, SERVES],
    ['another version on it', { kairosNodes: changed('cp-1', { observedVersion: TARGET }) }, SERVES],
    ['a report of another slot', { kairosNodes: changed('cp-1', { bootState: 'active' }) }, SERVES],
    ['a machine in another slot', { recordings: recorded('cp-1', { boots: untouched('cp-1').boots }) }, SERVES],
    ['a report from an older boot', { kairosNodes: changed('cp-1', { bootID: 'cp-1-boot-1' }) }, SERVES],
    ['another verdict', { kairosNodes: changed('cp-1', { lastAttempt: attempt('Succeeded') }) }, SERVES],
    ['another node that was out', { moments: [{ atMs: 1, controlPlane: [], workers: ['w-1'] }] }, OTHERS],
    ['another node with an attempt', { kairosNodes: changed('w-1', { lastAttempt: attempt('Succeeded') }) }, OTHERS],
    ['another machine that rebooted', { recordings: recorded('w-1', { boots: recording('w-1').boots }) }, OTHERS],
    [
      'an image written elsewhere',
      { recordings: recorded('w-1', { upgradeRuns: recording('w-1').upgradeRuns }) },
      'the image was written exactly once, on cp-1',
    ],
    [
      'a node left cordoned',
      { nodes: NAMES.map((name) => node(name, { unschedulable: name === 'cp-1' })) },
      'nothing left cordoned or marked',
    ],
    [
      'a disruption budget broken',
      { breaches: [{ budget: 'shop/web', healthy: 3, wanted: 4 }] },
      'every disruption budget held',
    ],
  ])('are seen to be broken by %s', (_what, change, name) => {
    expect(brokenAfter(change)).toContain(name);
  });
});

describe('the ideal duration', () => {
  it('is the control plane in a row, then the workers over the lanes, and one pull', () => {
    const parts = { drainMs: new Map([['w-1', 500]]), pullMs: 100, podStartMs: 50, soakMs: 1000, places: 2 };
    // Each node: two pod starts of 50, 1000 to write, 2000 to boot, 1000 to soak.
    expect(idealMs(good.recordings, parts)).toBe(100 + 2 * 4100 + 4600);
  });
});
