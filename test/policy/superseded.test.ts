import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { NodeOpUpgrade, RolloutPhase, RolloutStatus } from '../../api/types.ts';
import { supersededBy, supersededText } from '../../policy/superseded.ts';

const NODE = { labels: { zone: 'a' }, creationTimestamp: '2026-03-01T00:00:00Z' };
const at = (minute: number) => `2026-03-01T10:${String(minute).padStart(2, '0')}:00Z`;

interface Change {
  image?: string;
  created?: number;
  zone?: string;
  upgradeActive?: boolean;
  deleted?: boolean;
  rollout?: Partial<RolloutStatus>;
}

const upgrade = (name: string, change: Change = {}): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: {
    namespace: 'ns',
    name,
    uid: `uid-${name}`,
    generation: 1,
    creationTimestamp: at(change.created ?? 0),
    ...(change.deleted === true && { deletionTimestamp: at(50) }),
  },
  spec: {
    image: change.image ?? `image-${name}`,
    ...(change.zone !== undefined && { nodeSelector: { matchLabels: { zone: change.zone } } }),
    ...(change.upgradeActive !== undefined && { upgradeActive: change.upgradeActive }),
  },
  ...(change.rollout !== undefined && {
    status: { rollout: { workflowID: 'w', generation: 1, attempt: 1, phase: 'Running', ...change.rollout } },
  }),
});

const claim = { uid: 'uid-old', attempt: 1 };
const running = { startedAt: at(10) };
const ended = (phase: RolloutPhase, finished: number) => ({ phase, startedAt: at(1), finishedAt: at(finished) });

describe('a node that an older NodeOpUpgrade asks for', () => {
  it.each<[string, Change, string | undefined]>([
    ['is left to a newer one of another image', { created: 5 }, 'ns/new'],
    ['is not left to one that was created before', { created: 0, image: 'x' }, undefined],
    ['is shared with a newer one of the same image', { created: 5, image: 'image-old' }, undefined],
    ['is not left to one that does not select it', { created: 5, zone: 'b' }, undefined],
    ['is left to one that selects it', { created: 5, zone: 'a' }, 'ns/new'],
    ['is not left to one that is being deleted', { created: 5, deleted: true }, undefined],
    ['is not left to one that writes recovery systems only', { created: 5, upgradeActive: false }, undefined],
    ['is left to one that has not begun', { created: 5 }, 'ns/new'],
    ['is left to one that runs', { created: 5, rollout: { phase: 'Paused' } }, 'ns/new'],
    ['is left to one that completed while this one ran', { created: 5, rollout: ended('Completed', 20) }, 'ns/new'],
    ['is left to one that failed while this one ran', { created: 5, rollout: ended('Failed', 20) }, 'ns/new'],
    ['is not left to one that was cancelled', { created: 5, rollout: ended('Cancelled', 20) }, undefined],
    [
      'is not left to one that had ended when this attempt began',
      { created: 5, rollout: ended('Completed', 9) },
      undefined,
    ],
    [
      'is left to one that was edited since it ended',
      { created: 5, rollout: { ...ended('Completed', 9), generation: 0 } },
      'ns/new',
    ],
  ])('%s', (_, change, winner) => {
    const name = change.created === 0 ? 'a-new' : 'new';
    const all = [upgrade(name, change), upgrade('old', { created: change.created === 0 ? 1 : 0, rollout: running })];
    expect(supersededBy(claim, NODE, all)?.by).toBe(winner);
  });

  it('that joined after the newer one began is left to it only where that takes new nodes', () => {
    const late = { ...NODE, creationTimestamp: at(30) };
    const newer = upgrade('new', { created: 5, rollout: running });
    const all = [upgrade('old', { rollout: running }), newer];
    expect(supersededBy(claim, late, all)).toBeUndefined();
    newer.spec.strategy = { newNodes: 'Upgrade' };
    expect(supersededBy(claim, late, all)?.by).toBe('ns/new');
  });

  it('joined by the clock of the API server, and as the newer one says that it was started', () => {
    const began = (more: Partial<RolloutStatus>) =>
      upgrade('new', { created: 5, rollout: { ...running, youngestNode: at(8), ...more } });
    const old = upgrade('old', { rollout: running });
    const winner = (minute: number, more: Partial<RolloutStatus> = {}) =>
      supersededBy(claim, { ...NODE, creationTimestamp: at(minute) }, [old, began(more)])?.by;
    expect(winner(8)).toBe('ns/new');
    expect(winner(9)).toBeUndefined();
    expect(winner(9, { newNodes: 'Ignore' })).toBeUndefined();
    expect(winner(9, { newNodes: 'Upgrade' })).toBe('ns/new');
  });

  it('is left to nobody where the last of all that want it wants what this one wants', () => {
    const all = [
      upgrade('old', { rollout: running }),
      upgrade('new', { created: 5 }),
      upgrade('newest', { created: 6, image: 'image-old' }),
    ];
    expect(supersededBy(claim, NODE, all)).toBeUndefined();
  });

  it('is left to nobody where the one that asks is not there any more', () => {
    expect(supersededBy(claim, NODE, [upgrade('new', { created: 5 })])).toBeUndefined();
  });

  it('is named with whom it is left to, and for what', () => {
    const winner = supersededBy(claim, NODE, [upgrade('old'), upgrade('new', { created: 5 })]);
    expect(winner).toEqual({ by: 'ns/new', image: 'image-new' });
    expect(supersededText('n-1', winner ?? { by: '', image: '' })).toBe(
      'node n-1 is left to NodeOpUpgrade ns/new, which was created later and wants image-new: not touched',
    );
  });
});

describe('of any NodeOpUpgrades that run and want a node', () => {
  it('exactly those of one image may have it, and one of them is the last that was created', () => {
    const some = fc.array(fc.record({ created: fc.nat(3), image: fc.constantFrom('a', 'b', 'c') }), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(some, (changes) => {
        const all = changes.map((change, n) => upgrade(`u-${n}`, { ...change, rollout: running }));
        const may = all.filter(
          ({ metadata }) => supersededBy({ uid: metadata.uid ?? '', attempt: 1 }, NODE, all) === undefined,
        );
        expect(new Set(may.map(({ spec }) => spec.image)).size).toBe(1);
        const last = all
          .map(({ metadata }) => metadata.creationTimestamp ?? '')
          .sort()
          .at(-1);
        expect(may.some(({ metadata }) => metadata.creationTimestamp === last)).toBe(true);
      }),
    );
  });
});
