import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { DrainSpec } from '../../api/rollout-spec.ts';
import { STEP_LABEL } from '../../api/names.ts';
import {
  type DrainPod,
  type DrainOptions,
  decideDrain,
  drainOf,
  drainRefusal,
  mayComplete,
  waitedForUntilMs,
} from '../../policy/drain.ts';
import { resolveSpec } from '../../policy/strategy.ts';

const POD: DrainPod = {
  namespace: 'shop',
  name: 'web-0',
  labels: { app: 'web' },
  phase: 'Running',
  deleting: false,
  mirror: false,
  ownerKind: 'ReplicaSet',
  hasEmptyDir: false,
};
const { ownerKind: _owner, ...BARE } = POD;
const NOW = Date.parse('2026-03-01T10:00:00Z');
const STANDARD = drainOf(resolveSpec({ image: 'i' }));
const but = (drain: Partial<DrainSpec>, deleteEmptyDirData = true): DrainOptions => ({
  deleteEmptyDirData,
  drain: { ...STANDARD.drain, ...drain },
});
const decide = (pod: DrainPod, options: DrainOptions = STANDARD) => decideDrain(pod, options, NOW);

describe('a drain', () => {
  it.each<[string, DrainPod]>([
    ['a pod of a ReplicaSet', POD],
    ['a pod of a Job that still runs', { ...POD, ownerKind: 'Job' }],
    ['a pod that does not start', { ...POD, phase: 'Pending' }],
    ['a pod whose node is not heard of', { ...POD, phase: 'Unknown' }],
    ['a pod with an emptyDir, by default', { ...POD, hasEmptyDir: true }],
    ['a pod that is being deleted: it is waited for', { ...POD, deleting: true }],
    ['a bare pod that somebody deleted already', { ...BARE, deleting: true }],
    ['a pod of another project with a part-of label', { ...POD, labels: { 'app.kubernetes.io/part-of': 'shop' } }],
  ])('evicts %s', (_, pod) => {
    expect(decide(pod)).toEqual({ action: 'evict' });
  });

  it.each<[string, DrainPod]>([
    ['a pod of a DaemonSet', { ...POD, ownerKind: 'DaemonSet' }],
    ['a mirror pod, which only kubelet can end', { ...POD, ownerKind: 'Node', mirror: true }],
    ['a pod that succeeded, with nobody to make it again', { ...BARE, phase: 'Succeeded' }],
    ['a pod that failed', { ...POD, phase: 'Failed' }],
    ['the pod that writes the image', { ...POD, ownerKind: 'Job', labels: { [STEP_LABEL]: 'upgrade' } }],
    ['the pod that pulled the image, which nothing owns', { ...BARE, labels: { [STEP_LABEL]: 'pre-pull' } }],
    ['the operator itself', { ...POD, labels: { 'app.kubernetes.io/part-of': 'kairos-operator' } }],
    ['a Temporal that its own chart installed', { ...POD, labels: { 'kairos.io/part-of': 'kairos-operator' } }],
    ['a DaemonSet with data in an emptyDir', { ...POD, ownerKind: 'DaemonSet', hasEmptyDir: true }],
  ])('leaves %s', (_, pod) => {
    expect(decide(pod, but({}, false))).toEqual({ action: 'leave' });
  });

  it.each<[string, DrainPod, DrainOptions, object]>([
    ['a pod that nobody would make again', BARE, STANDARD, { action: 'refuse', because: 'NoController' }],
    ['the same, with force', BARE, but({ force: true }), { action: 'evict' }],
    [
      'data in an emptyDir that may not be lost',
      { ...POD, hasEmptyDir: true },
      but({}, false),
      { action: 'refuse', because: 'EmptyDir' },
    ],
    [
      'the same, forced: force is not about data',
      { ...BARE, hasEmptyDir: true },
      but({ force: true }, false),
      { action: 'refuse', because: 'EmptyDir' },
    ],
    [
      'data that is being deleted already',
      { ...POD, hasEmptyDir: true, deleting: true },
      but({}, false),
      { action: 'evict' },
    ],
    [
      'a pod that the selector matches',
      POD,
      but({ podSelector: { matchLabels: { app: 'web' } } }),
      { action: 'evict' },
    ],
    ['a pod that it does not match', POD, but({ podSelector: { matchLabels: { app: 'db' } } }), { action: 'leave' }],
    [
      'a bare pod that it does not match, which refuses nothing',
      BARE,
      but({ podSelector: { matchLabels: { app: 'db' } } }),
      { action: 'leave' },
    ],
    ['a pod overdue for a minute', overdue(60), but({ skipWaitForDeleteMs: 60_000 }), { action: 'leave' }],
    ['a pod overdue for less', overdue(59), but({ skipWaitForDeleteMs: 60_000 }), { action: 'evict' }],
    ['a pod overdue for a day, by default', overdue(86_400), STANDARD, { action: 'evict' }],
    [
      'a pod that is being deleted, of which nobody says since when',
      { ...POD, deleting: true },
      but({ skipWaitForDeleteMs: 0 }),
      { action: 'evict' },
    ],
  ])('decides %s', (_, pod, options, expected) => {
    expect(decide(pod, options)).toEqual(expected);
  });

  it('of an old history is that of before: without force, without volumes, failing at its deadline', () => {
    const { drain: _drain, ...old } = resolveSpec({ image: 'i' });
    expect(drainOf(old).drain).toEqual({ force: false, volumeDetachMs: 0, onTimeout: 'Fail', overridableBudgets: [] });
  });

  it('never evicts what stays, whatever its options are', () => {
    const stays = fc.constantFrom<Partial<DrainPod>>(
      { mirror: true },
      { ownerKind: 'DaemonSet' },
      { phase: 'Succeeded' },
      { labels: { [STEP_LABEL]: 'upgrade' } },
      { labels: { 'app.kubernetes.io/part-of': 'kairos-operator' } },
    );
    const options = fc.record({
      force: fc.boolean(),
      deletes: fc.boolean(),
      skipWaitForDeleteMs: fc.option(fc.nat(), { nil: undefined }),
    });
    fc.assert(
      fc.property(stays, options, fc.boolean(), (part, { force, deletes, skipWaitForDeleteMs }, deleting) => {
        const given = but({ force, ...(skipWaitForDeleteMs === undefined ? {} : { skipWaitForDeleteMs }) }, deletes);
        expect(decide({ ...POD, deleting, hasEmptyDir: true, ...part }, given)).toEqual({ action: 'leave' });
      }),
    );
  });
});

describe('a refusal', () => {
  it('names every pod and both ways out, in one sentence', () => {
    const pods = [POD, { ...BARE, name: 'b' }, { ...BARE, name: 'a' }, { ...POD, name: 'cache-0', hasEmptyDir: true }];
    expect(drainRefusal(pods, but({}, false), NOW)).toBe(
      '2 pods without a controller, which nobody would make again: shop/a, shop/b (delete them, give them one, or set strategy.drain.force: true); a pod with data in an emptyDir: shop/cache-0 (move the data, or set strategy.drain.deleteEmptyDirData: true, which deletes it)',
    );
    expect(drainRefusal(pods, but({ force: true }), NOW)).toBeUndefined();
  });

  it('is bounded', () => {
    const pods = Array.from({ length: 300 }, (_, index) => ({ ...BARE, name: `a-${index}` }));
    expect(drainRefusal(pods, STANDARD, NOW)).toMatch(/^300 pods .* and 290 more \(/);
  });
});

describe('a pod that ends by itself', () => {
  const job = { ...POD, ownerKind: 'Job' };
  const completion = { timeoutMs: 60_000 };
  it.each<[string, DrainPod, Partial<DrainSpec>, boolean]>([
    ['one of a Job, by default', job, {}, false],
    ['one of a Job, where that is asked for', job, { completion }, true],
    ['one of a ReplicaSet then', POD, { completion }, false],
    [
      'one that the selector matches',
      POD,
      { completion: { ...completion, podSelector: { matchLabels: { app: 'web' } } } },
      true,
    ],
    [
      'one of a Job that it does not match',
      job,
      { completion: { ...completion, podSelector: { matchLabels: { app: 'db' } } } },
      false,
    ],
  ])('is waited for or not: %s', (_, pod, drain, expected) => {
    expect(mayComplete(pod, but(drain).drain)).toBe(expected);
  });
});

describe('a pod that is being deleted', () => {
  it('is waited for until it is overdue for as long as the strategy says', () => {
    const { drain } = but({ skipWaitForDeleteMs: 30_000 });
    expect(waitedForUntilMs(overdue(0), drain)).toBe(NOW + 30_000);
    expect(waitedForUntilMs(overdue(0), STANDARD.drain)).toBe(Infinity);
  });
});

function overdue(seconds: number): DrainPod {
  return { ...POD, deleting: true, deletionTimestamp: new Date(NOW - seconds * 1000).toISOString() };
}
