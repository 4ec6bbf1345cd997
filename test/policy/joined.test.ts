import { describe, expect, it } from '@jest/globals';
import type { KairosNodeStatus, NodeOpUpgrade, RolloutStatus } from '../../api/types.ts';
import { joinedLater, type JoinedNode } from '../../policy/joined.ts';

const VERSION = 'v4.0.3-k3sv1.33.9+k3s1';
const at = (minute: number) => `2026-03-01T10:${String(minute).padStart(2, '0')}:00Z`;

interface Change {
  newNodes?: 'Ignore' | 'Upgrade' | 'unsaid';
  generation?: number;
  rollout?: Partial<RolloutStatus>;
}

const upgrade = ({ newNodes = 'Upgrade', generation = 2, rollout = {} }: Change = {}): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { namespace: 'ns', name: 'v4', uid: 'u', generation, creationTimestamp: at(0) },
  spec: {
    image: 'i',
    nodeSelector: { matchLabels: { pool: 'a' } },
    strategy: newNodes === 'unsaid' ? {} : { newNodes },
  },
  status: {
    rollout: {
      workflowID: 'w',
      generation: 2,
      attempt: 1,
      phase: 'Completed',
      version: VERSION,
      startedAt: at(10),
      finishedAt: at(20),
      ...rollout,
    },
  },
});

const release = (version: string) => ({
  KAIROS_VERSION: version,
  KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
  KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
});
const attempt = (uid: string, generation: number, verdict: 'RolledBack' | 'Succeeded' = 'RolledBack') =>
  ({
    rollout: 'w',
    request: { kind: 'NodeOpUpgrade', namespace: 'ns', name: 'v4', uid, generation, attempt: 1 },
    specGeneration: 1,
    image: 'i',
    verdict,
    finishedAt: at(30),
  }) as const;
const node = (status: KairosNodeStatus | undefined, change: Partial<JoinedNode> = {}): JoinedNode => ({
  name: 'n-1',
  labels: { pool: 'a' },
  creationTimestamp: at(25),
  bootID: 'boot-1',
  status: status && { bootID: 'boot-1', release: release('v4.0.2'), ...status },
  ...change,
});

describe('after a rollout, a node opens the next attempt', () => {
  it.each<[string, Change, JoinedNode, boolean]>([
    ['where it joined since, and its agent reports another version', {}, node({}), true],
    ['where it joined while the rollout ran, and reported later', {}, node({}, { creationTimestamp: at(15) }), true],
    ['where an earlier generation had it', {}, node({ lastAttempt: attempt('u', 1) }), true],
    ['where another NodeOpUpgrade had it', {}, node({ lastAttempt: attempt('other', 2) }), true],
    [
      'where the defaults of the installation take new nodes, and it says nothing of them',
      { newNodes: 'unsaid', rollout: { newNodes: 'Upgrade' } },
      node({}),
      true,
    ],
    [
      'not where it was started to ignore them, whatever the defaults are now',
      { newNodes: 'unsaid', rollout: { newNodes: 'Ignore' } },
      node({}),
      false,
    ],
    [
      'where it is younger than all that were there, though the clock of the rollout is ahead',
      { rollout: { startedAt: at(59), youngestNode: at(9) } },
      node({}, { creationTimestamp: at(10) }),
      true,
    ],
    [
      'not where it was there, though the clock of the rollout is behind',
      { rollout: { startedAt: at(1), youngestNode: at(9) } },
      node({}, { creationTimestamp: at(9) }),
      false,
    ],
    ['not where new nodes are ignored', { newNodes: 'Ignore' }, node({}), false],
    ['not where it was there before', {}, node({}, { creationTimestamp: at(5) }), false],
    ['not where an attempt has settled it, however that ended', {}, node({ lastAttempt: attempt('u', 2) }), false],
    ['not where it runs the target', {}, node({ release: release('v4.0.3') }), false],
    ['not before its agent has reported', {}, node(undefined), false],
    ['not before its agent has reported from this boot', {}, node({ bootID: 'boot-0' }), false],
    ['not where it is not selected', {}, node({}, { labels: { pool: 'b' } }), false],
    ['not where it is not ours', {}, node({}, { labels: { pool: 'a', 'kairos.io/managed': 'false' } }), false],
    ['not where the rollout failed: its image may be bad', { rollout: { phase: 'Failed' } }, node({}), false],
    ['not where the rollout was cancelled', { rollout: { phase: 'Cancelled' } }, node({}), false],
    ['not while a rollout runs, which looks itself', { rollout: { phase: 'Running' } }, node({}), false],
    ['not where the spec was edited since', { generation: 3 }, node({}), false],
  ])('%s', (_, change, joined, opens) => {
    const resource = upgrade(change);
    expect(joinedLater(resource, [joined], [resource])).toEqual(opens ? ['n-1'] : []);
  });

  it('not where a newer NodeOpUpgrade wants it', () => {
    const resource = upgrade();
    const newer: NodeOpUpgrade = {
      ...resource,
      metadata: { ...resource.metadata, name: 'v5', uid: 'v', creationTimestamp: at(26) },
      spec: { image: 'j' },
      status: {},
    };
    expect(joinedLater(resource, [node({})], [resource, newer])).toEqual([]);
  });

  it('once: the attempt that it opens begins later than it joined', () => {
    const resource = upgrade({ rollout: { attempt: 2, startedAt: at(26), finishedAt: at(27) } });
    expect(joinedLater(resource, [node({})], [resource])).toEqual([]);
  });
});
