import { describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { readHosting } from '../../activities/hosting.ts';
import { findJoined } from '../../activities/joined.ts';
import type { KairosNodeStatus, NodeOpUpgrade } from '../../api/types.ts';
import type { GuardedPod } from '../../kube/guarded-pods.ts';
import { HAND } from './step-world.ts';

const VERSION = 'v4.0.3-k3sv1.33.9+k3s1';
const release = (version: string) => ({
  KAIROS_VERSION: version,
  KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
  KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
});

interface Seen {
  status?: KairosNodeStatus;
  labels?: Record<string, string>;
  controlPlane?: boolean;
}

function viewOf(seen: Record<string, Seen>, { pods = [] as GuardedPod[], upgrades = [] as NodeOpUpgrade[] } = {}) {
  const nodes = Object.entries(seen).map(([name, { labels = {}, controlPlane = false }]) => {
    return {
      name,
      uid: `uid-${name}`,
      bootID: 'boot-1',
      labels,
      controlPlane,
      creationTimestamp: '2026-03-01T10:00:00Z',
    };
  });
  const kairosNode = (name: string) => ({
    status: { bootID: 'boot-1', release: release('v4.0.2'), ...seen[name]?.status },
  });
  return {
    ref: HAND.cluster,
    nodes: { values: () => nodes },
    kairosNodes: { get: kairosNode },
    hosted: [{ values: () => [] }, { values: () => pods }],
    upgrades: { values: () => upgrades },
  } as unknown as ClusterView;
}

const hostPod = (nodeName: string, change: Partial<GuardedPod> = {}): GuardedPod => ({
  namespace: 'kairos-system',
  name: `kairos-worker-${nodeName}`,
  nodeName,
  ready: true,
  stays: true,
  ...change,
});

describe('the nodes that are left at the end of a rollout', () => {
  const input = { ...HAND, version: VERSION };

  it('are those that it selects by label, that run something else, and that no attempt has settled', () => {
    const request = { ...HAND.request, attempt: 1 };
    const lastAttempt = {
      rollout: 'w',
      request,
      specGeneration: 1,
      image: 'i',
      verdict: 'Lost',
      finishedAt: 't',
    } as const;
    const view = viewOf({
      'w-2': {},
      'w-1': {},
      'cp-9': { controlPlane: true },
      'on-target': { status: { release: release('v4.0.3') } },
      settled: { status: { lastAttempt } },
      'not-reported': { status: { bootID: 'boot-0' } },
      'not-ours': { labels: { 'kairos.io/managed': 'false' } },
    });
    expect(findJoined(view, { ...input, spec: { ...HAND.spec, nodeNames: ['w-1'] } })).toEqual({
      controlPlane: [{ name: 'cp-9', uid: 'uid-cp-9' }],
      workers: [
        { name: 'w-1', uid: 'uid-w-1' },
        { name: 'w-2', uid: 'uid-w-2' },
      ],
    });
  });

  it('are in the order of a plan, those that carry the operator last, and none that a newer one wants', () => {
    const upgrade = (uid: string, image: string, minute: number): NodeOpUpgrade => ({
      apiVersion: 'operator.kairos.io/v1alpha1',
      kind: 'NodeOpUpgrade',
      metadata: { namespace: 'ns', name: uid, uid, creationTimestamp: `2026-03-01T10:0${minute}:00Z` },
      spec: { image, ...(uid === 'u' ? {} : { nodeSelector: { matchLabels: { pool: 'theirs' } } }) },
    });
    const view = viewOf(
      { 'w-1': {}, 'w-2': { labels: { pool: 'theirs' } }, 'w-3': {}, 'w-4': {} },
      {
        pods: [hostPod('w-1'), hostPod('w-3', { stays: false })],
        upgrades: [upgrade('u', 'i', 1), upgrade('v', 'j', 2)],
      },
    );
    expect(findJoined(view, input).workers.map(({ name }) => name)).toEqual(['w-3', 'w-4', 'w-1']);
  });
});

describe('a node that is about to be started', () => {
  it('is told to carry the pods that are on it now, the first of them by name', () => {
    const many = Array.from({ length: 5 }, (_, n) => hostPod('n-1', { name: `p-${n}` }));
    const view = viewOf({}, { pods: [...many, hostPod('n-2'), hostPod('n-1', { name: 'ended', stays: false })] });
    expect(readHosting(view, HAND)).toEqual({ pods: ['kairos-system/p-0', 'kairos-system/p-1', 'kairos-system/p-2'] });
    expect(readHosting(view, { ...HAND, node: { name: 'n-3', uid: 'x' } })).toEqual({ pods: [] });
  });
});
