import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import type { Condition, KairosNodeStatus, NodeOpUpgrade, RolloutStatus, Verdict } from '../../api/types.ts';
import { VERDICTS } from '../../api/schemas/kairos-node.ts';
import { REASONS } from '../../policy/events.ts';
import { newsForUpgrade, newsOfNode, type TalkingNode } from '../../policy/node-events.ts';
import { isFailure } from '../../policy/placement.ts';
import { newsOfUntouched, newsOfUpgrade } from '../../policy/upgrade-events.ts';

const at = (time: string) => Date.parse(`2026-03-01T${time}Z`);
const NOW = at('10:10:00');
const REQUEST = { kind: 'NodeOpUpgrade', namespace: 'fleet', name: 'v4', uid: 'u', generation: 2, attempt: 1 } as const;
const HAND = {
  rollout: 'rollout/x',
  request: REQUEST,
  image: 'quay.io/kairos/hadron:v4.0.3',
  version: 'v4.0.3',
  from: 'v4.0.2',
  bootID: 'boot-1',
  startedAt: '2026-03-01T10:00:00Z',
};

const node = (status: KairosNodeStatus, uid = 'node-uid'): TalkingNode => ({ name: 'worker-1', uid, status });
const inStep = (step: KairosNodeStatus['step'], message: string, more: KairosNodeStatus = {}) =>
  node({
    upgradeState: 'InProgress',
    inHand: HAND,
    step: step ?? 'Cordon',
    stepSince: '2026-03-01T10:01:00Z',
    message,
    workflowID: 'node/x/1',
    bootID: 'boot-1',
    ...more,
  });
const ended = (verdict: Verdict, message: string, more: KairosNodeStatus = {}) =>
  node({
    upgradeState: 'Failed',
    lastAttempt: {
      rollout: 'rollout/x',
      request: REQUEST,
      specGeneration: 1,
      image: HAND.image,
      verdict,
      message,
      finishedAt: '2026-03-01T10:08:00Z',
    },
    ...more,
  });

const reasons = (news: { reason: string }[]) => news.map(({ reason }) => reason);
/** The Events of these states, one after the other, by the watcher that sees them all. */
function story(...states: TalkingNode[]) {
  return states.flatMap((state, index) => newsOfNode(states[index - 1] ?? node({}), state, NOW));
}

describe('what is said about a node', () => {
  it('that goes well is five Normal Events, however often it is written', () => {
    const news = story(
      inStep('Cordon', 'cordoning, to upgrade to v4.0.3'),
      inStep('Drain', 'moving its pods to other nodes'),
      inStep('Drain', 'moving its pods to other nodes'),
      inStep('Upgrade', 'writing quay.io/kairos/hadron:v4.0.3'),
      inStep('Reboot', 'rebooting into v4.0.3'),
      inStep('Verify', 'waiting for the node to be Ready'),
      inStep('Verify', 'waiting', { bootID: 'boot-2', bootState: 'active', observedVersion: 'v4.0.3' }),
      inStep('Soak', 'must stay Ready for 30s', { bootID: 'boot-2', bootState: 'active', observedVersion: 'v4.0.3' }),
      ended('Succeeded', 'runs v4.0.3, proven by the stamp of this upgrade'),
    );
    expect(news.map(({ type, reason, message }) => `${type} ${reason}: ${message}`)).toEqual([
      'Normal TakenInHand: by fleet/v4, attempt 1: from v4.0.2 to v4.0.3 (quay.io/kairos/hadron:v4.0.3); workflow node/x/1',
      'Normal Drained: the drain is over; writing quay.io/kairos/hadron:v4.0.3; from here on the node is taken to its verdict',
      'Normal ImageWritten: the image is written; rebooting into v4.0.3',
      'Normal Rebooted: its agent reports from a new boot, slot active, version v4.0.3',
      'Normal Succeeded: runs v4.0.3, proven by the stamp of this upgrade',
    ]);
  });

  it('that takes long to be written is said to be slow, once, and how to look', () => {
    const slow = (minutes: string) =>
      inStep(
        'Upgrade',
        `writing i for ${minutes}: slow, and not killed; kubectl logs -n fleet job/j shows what it does`,
      );
    const news = story(inStep('Upgrade', 'writing i'), slow('10m00s'), slow('20m00s'));
    expect(news.filter(({ type }) => type === 'Warning')).toEqual([
      expect.objectContaining({
        reason: 'UpgradeSlow',
        message:
          'the image takes long to be written. It is not killed, as a machine with a slot half written may not boot: kubectl logs -n fleet job/j shows what it does',
      }),
    ]);
  });

  it('that rebooted by itself before its image was written does not claim a reboot of ours', () => {
    expect(reasons(story(inStep('Drain', 'moving its pods', { bootID: 'boot-2' })))).toEqual(['TakenInHand']);
  });

  it.each(VERDICTS.filter((verdict) => isFailure(verdict) && verdict !== 'RolledBack'))(
    'that ended as %s is a Warning with why and how to go on',
    (verdict) => {
      expect(story(ended(verdict, 'why it is so'))).toEqual([
        expect.objectContaining({
          type: 'Warning',
          reason: verdict,
          message:
            'why it is so. To try again: kubectl annotate -n fleet nodeopupgrade v4 --overwrite kairos.io/retry="$(date +%s)"',
        }),
      ]);
    },
  );

  it('that fell back is not told to try the same image first', () => {
    expect(story(ended('RolledBack', 'fell back'))[0]?.message).toMatch(
      /^fell back\. With a mended image, edit spec\.image\. To try the same again: kubectl annotate /,
    );
  });

  it('that was cancelled is no Warning, and names no command: its NodeOpUpgrade may be gone', () => {
    expect(story(ended('Cancelled', 'back in service'))).toEqual([
      expect.objectContaining({ type: 'Normal', reason: 'Cancelled', message: 'back in service' }),
    ]);
  });

  it('keeps the command also where the reason is long', () => {
    const [notice] = story(ended('UpgradeFailed', 'x'.repeat(4000)));
    expect(notice?.message).toHaveLength(1000);
    expect(notice?.message).toMatch(/kairos\.io\/retry="\$\(date \+%s\)"$/);
  });

  it('whose verdict was written twice is said once', () => {
    const once = ended('Lost', 'not Ready');
    const again = ended('Lost', 'not Ready');
    if (again.status.lastAttempt) again.status.lastAttempt.finishedAt = '2026-03-01T10:08:01Z';
    expect(reasons(story(once, again))).toEqual(['Lost']);
  });

  it('whose verdict was corrected says what it was', () => {
    const condition: Condition = {
      type: 'VerdictCorrected',
      status: 'True',
      reason: 'Succeeded',
      message: 'was Lost at 10:08: not Ready',
      lastTransitionTime: '2026-03-01T10:09:00Z',
    };
    const news = story(ended('Lost', 'not Ready'), ended('Succeeded', 'runs v4.0.3', { conditions: [condition] }));
    expect(news.at(-1)).toMatchObject({
      type: 'Normal',
      reason: 'VerdictCorrected',
      message: 'now Succeeded: runs v4.0.3; was Lost at 10:08: not Ready',
    });
  });

  it('that was given back without a verdict says why', () => {
    const message = 'its workflow had ended before its image was touched: back in service';
    const news = story(inStep('Drain', 'moving its pods'), node({ upgradeState: 'Idle', message }));
    expect(news.at(-1)).toMatchObject({
      type: 'Warning',
      reason: 'GivenBack',
      message: expect.stringMatching(/^its workflow had ended .*back in service\. .*kairos\.io\/retry=/),
    });
  });

  it('past the point of no return is said to be recovered, once', () => {
    const before = inStep('Upgrade', 'writing the image');
    const inHand = { ...before.status.inHand, recoveredAt: '2026-03-01T10:09:00Z' } as typeof before.status.inHand;
    const now = { ...before, status: { ...before.status, ...(inHand === undefined ? {} : { inHand }) } };
    const news = newsOfNode(before, now, NOW);
    expect(reasons(news)).toEqual(['Recovered']);
    expect(news[0]).toMatchObject({ type: 'Warning', message: expect.stringContaining('goes on at Upgrade') });
    expect(newsOfNode(now, now, NOW)).toEqual([]);
  });

  it('is a new story for a node that was made again under its name', () => {
    const before = inStep('Drain', 'moving its pods');
    const now = { ...before, uid: 'another' };
    expect(reasons(newsOfNode(before, now, NOW))).toEqual(['TakenInHand']);
  });
});

describe('a drain that is held', () => {
  const held = (pod: string, budget: string) =>
    inStep('Drain', 'moving its pods', {
      blockers: [
        {
          pod,
          reason: 'Budget',
          budget: `db/${budget}`,
          disruptionsAllowed: 0,
          message: `held by PodDisruptionBudget ${budget}, which allows 0 disruptions`,
          since: '2026-03-01T10:01:30Z',
        },
      ],
    });

  it('names pod and budget, and what to do, once for each budget', () => {
    const news = story(held('db/pg-0', 'pg'), held('db/pg-1', 'pg'), held('db/mq-0', 'mq'), held('db/pg-0', 'pg'));
    const first = news.find(({ reason }) => reason === 'DrainBlocked');
    expect(first).toMatchObject({ type: 'Warning' });
    expect(first?.message).toMatch(
      /^pod db\/pg-0 is held by PodDisruptionBudget pg, which allows 0 disruptions \(since [^)]+\)\. kubectl get pdb -n db: /,
    );
    const distinct = new Set(news.filter(({ reason }) => reason === 'DrainBlocked').map(({ key }) => key));
    expect(distinct.size).toBe(2);
  });

  it('is told to the NodeOpUpgrade under one key for all nodes', () => {
    const [one, other] = ['worker-1', 'worker-2'].map((name) => {
      const state = { ...held('db/pg-0', 'pg'), name };
      return newsForUpgrade(state, newsOfNode(node({}), state, NOW));
    });
    expect(one?.[0]?.message).toMatch(/^node worker-1: pod db\/pg-0 /);
    expect(one?.map(({ key }) => key)).toEqual(other?.map(({ key }) => key));
  });
});

describe('what a drain did to pods', () => {
  const drain = { outcome: 'PodsDeleted', message: 'deleted past their budgets: db/pg-0' } as const;

  it('is a Warning of the node, once, at whatever step it is seen', () => {
    const news = story(
      inStep('Drain', 'moving its pods'),
      inStep('Drain', 'moving its pods', { inHand: { ...HAND, drain } }),
      inStep('Upgrade', 'writing', { inHand: { ...HAND, drain } }),
    );
    expect(news.filter(({ reason }) => reason === 'PodsDeleted')).toEqual([
      expect.objectContaining({ type: 'Warning', message: drain.message }),
    ]);
  });

  it('is no Warning where nothing was evicted', () => {
    const nothing = { outcome: 'NothingEvicted', message: 'no other node is Ready and schedulable' } as const;
    const news = story(inStep('Drain', nothing.message, { inHand: { ...HAND, drain: nothing } }));
    expect(news.filter(({ reason }) => reason === 'NothingEvicted')).toMatchObject([{ type: 'Normal' }]);
  });

  it('says nothing of pods that are given time to end by themselves', () => {
    const since = '2026-03-01T10:01:30Z';
    const blockers = [{ pod: 'batch/job', reason: 'Completing', message: 'given time', since } as const];
    expect(reasons(story(inStep('Drain', 'moving its pods', { blockers })))).toEqual(['TakenInHand']);
  });
});

describe('a pull that fails', () => {
  const pulling = (words: string) => node({ message: `pulling reg/x:v1: ${words}` });

  it('has the words of the registry, once', () => {
    const news = story(
      pulling('ContainerCreating'),
      pulling('ErrImagePull manifest unknown'),
      pulling('ImagePullBackOff Back-off pulling image "reg/x:v1": ErrImagePull: manifest unknown'),
    );
    expect(reasons(news)).toEqual(['PullFailing']);
    expect(news[0]?.message).toMatch(/^cannot pull reg\/x:v1: ErrImagePull manifest unknown\. .*imagePullSecrets/);
  });

  it.each(['ImagePullBackOff Back-off pulling image "reg/x:v1"', 'ContainerCreating', 'PodInitializing'])(
    'is not told by %s',
    (words) => expect(story(pulling(words))).toEqual([]),
  );
});

describe('what a watcher finds when it begins', () => {
  it('is said where it has just happened, under the key that it had', () => {
    const now = ended('RolledBack', 'fell back');
    const [found] = newsOfNode(undefined, now, NOW);
    expect(found).toEqual(newsOfNode(node({}), now, NOW)[0]);
  });

  it('is not said where it is old, or nobody knows when it was', () => {
    expect(newsOfNode(undefined, ended('RolledBack', 'fell back'), at('11:00:00'))).toEqual([]);
    expect(newsOfNode(undefined, node({ message: 'pulling x: ErrImagePull no' }), NOW)).toEqual([]);
  });
});

const upgrade = (rollout?: Partial<RolloutStatus>, conditions: Condition[] = []): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'u', generation: 2 },
  spec: { image: HAND.image },
  status: {
    conditions,
    ...(rollout === undefined
      ? {}
      : { rollout: { workflowID: 'rollout/x', generation: 2, attempt: 1, phase: 'Running', ...rollout } }),
  },
});
const startedAt = '2026-03-01T10:00:00Z';
const finishedAt = '2026-03-01T10:09:00Z';
const tale = (...states: NodeOpUpgrade[]) =>
  states.flatMap((state, index) => newsOfUpgrade(states[index - 1] ?? upgrade(), state, NOW));
const condition = (type: string, status: 'True' | 'False', reason: string): Condition => ({
  type,
  status,
  reason,
  message: `about ${reason}`,
  lastTransitionTime: '2026-03-01T10:05:00Z',
});

describe('what is said about a NodeOpUpgrade', () => {
  it('is its course', () => {
    const news = tale(
      upgrade({ startedAt, image: HAND.image, phase: 'Planning', message: 'planning' }),
      upgrade({ startedAt, image: HAND.image, wave: 'control-plane', message: 'wave control-plane: 3 nodes' }),
      upgrade({ startedAt, image: HAND.image, wave: 'workers', message: 'wave workers: 9 nodes' }),
      upgrade({ startedAt, image: HAND.image, wave: 'workers', phase: 'Completed', message: '12 of 12', finishedAt }),
    );
    expect(news.map(({ type, reason, message }) => `${type} ${reason}: ${message}`)).toEqual([
      'Normal Started: attempt 1: quay.io/kairos/hadron:v4.0.3; workflow rollout/x',
      'Normal WaveStarted: wave control-plane: 3 nodes',
      'Normal WaveStarted: wave workers: 9 nodes',
      'Normal Completed: attempt 1: 12 of 12',
    ]);
  });

  it('is each attempt anew', () => {
    const [one, two] = [upgrade({ startedAt }), upgrade({ startedAt, attempt: 2 })];
    expect(reasons(tale(one, two))).toEqual(['Started', 'Started']);
  });

  it.each([
    ['kubectl', 'kubectl annotate -n fleet nodeopupgrade v4 kairos.io/pause-'],
    ['temporal', "temporal workflow signal --workflow-id rollout/x --name resume --input '{}'"],
  ] as const)('is by whom and why it was paused, and how to go on: %s', (by, command) => {
    const paused = { by, reason: 'disk alarm', since: '2026-03-01T10:05:00Z' };
    const news = tale(upgrade({}), upgrade({ phase: 'Paused', paused }), upgrade({}));
    expect(reasons(news)).toEqual(['Paused', 'Resumed']);
    expect(news[0]?.message).toContain(`by ${by}: disk alarm`);
    expect(news[0]?.message).toContain(`To go on: ${command}`);
    expect(news[1]?.message).toContain('paused since 2026-03-01T10:05:00Z: disk alarm');
  });

  it('is no resume where it ended while it was paused', () => {
    const paused = { by: 'kubectl', reason: 'x', since: '2026-03-01T10:05:00Z' } as const;
    const news = tale(upgrade({ phase: 'Paused', paused }), upgrade({ phase: 'Cancelled', message: 'x', finishedAt }));
    expect(reasons(news)).toEqual(['Paused', 'Cancelled']);
  });

  it('names each failed node once, whoever tells it, and how to try again', () => {
    const lost = { name: 'worker-1', verdict: 'Lost', message: 'not Ready' } as const;
    const state = { ...ended('Lost', 'not Ready'), name: 'worker-1' };
    const [early] = newsForUpgrade(state, newsOfNode(node({}), state, NOW));
    const news = tale(upgrade({ phase: 'Failed', message: 'stopped', failed: [lost], finishedAt }));
    expect(reasons(news)).toEqual(['NodeFailed', 'Failed']);
    expect(news[0]).toMatchObject({ type: 'Warning', key: early?.key, message: 'node worker-1: Lost: not Ready' });
    expect(news[1]).toMatchObject({ type: 'Warning', message: expect.stringContaining('kairos.io/retry=') });
  });

  it('also tells a node that ended without having been in hand, once', () => {
    const untouched = { name: 'worker-1', verdict: 'Failed', message: 'not pulled' } as const;
    const touched = { name: 'worker-2', verdict: 'Lost', message: 'not Ready' } as const;
    const nodes = [
      ended('Lost', 'an earlier attempt', {}),
      { ...ended('Lost', 'not Ready'), name: 'worker-2', uid: 'two' },
    ];
    const before = nodes[0]?.status.lastAttempt?.request;
    if (nodes[0]?.status.lastAttempt && before) nodes[0].status.lastAttempt.request = { ...before, attempt: 0 };
    const of = (name: string) => nodes.find((one) => one.name === name);
    const now = upgrade({ failed: [untouched, touched] });
    expect(newsOfUntouched(upgrade({}), now, of)).toEqual([
      {
        node: nodes[0],
        notice: expect.objectContaining({
          type: 'Warning',
          reason: 'Failed',
          message: expect.stringMatching(/^not pulled\. To try again: kubectl annotate -n fleet nodeopupgrade v4 /),
        }),
      },
    ]);
    expect(newsOfUntouched(now, now, of)).toEqual([]);
    expect(newsOfUntouched(undefined, now, of)).toEqual([]);
  });

  it('also tells of a node that it leaves to a newer NodeOpUpgrade, once, and to which', () => {
    const node = { ...ended('Succeeded', 'an earlier attempt', {}), name: 'worker-1' };
    const now = upgrade({ superseded: [{ name: 'worker-1', by: 'ns/v5' }] });
    const of = (name: string) => (name === 'worker-1' ? node : undefined);
    expect(newsOfUntouched(upgrade({}), now, of)).toEqual([
      {
        node,
        notice: expect.objectContaining({
          type: 'Normal',
          reason: 'Superseded',
          message: 'fleet/v4 leaves it to ns/v5, which was created later and wants another image',
        }),
      },
    ]);
    expect(newsOfUntouched(now, now, of)).toEqual([]);
  });

  it('stays short where hundreds of nodes fail', () => {
    const failed = Array.from({ length: 100 }, (_, n) => ({ name: `w-${n}`, verdict: 'Lost' as const }));
    expect(tale(upgrade({ phase: 'Failed', message: 'x', failed, finishedAt })).length).toBeLessThanOrEqual(11);
  });

  it('is that Temporal went away, and came back', () => {
    const away = upgrade({}, [condition('EngineReachable', 'False', 'Unreachable')]);
    const back = upgrade({}, [condition('EngineReachable', 'True', 'Connected')]);
    expect(reasons(tale(back, away, back))).toEqual(['TemporalUnreachable', 'TemporalReturned']);
  });

  it.each(['Waiting', 'NotStarted'])('is that nothing moves: %s', (reason) => {
    const [notice] = tale(upgrade({}, [condition('Progressing', 'False', reason)]));
    expect(notice).toMatchObject({ type: 'Warning', reason, message: `about ${reason}` });
  });

  it('is nothing where a condition only says that it has ended', () => {
    expect(tale(upgrade({}, [condition('Progressing', 'False', 'Completed')]))).toEqual([]);
  });
});

it('every reason of an Event is explained in docs/diagnosis.md, and only those are', () => {
  const text = readFileSync('docs/diagnosis.md', 'utf8');
  const [, table = ''] = text.split('## Events\n');
  const explained = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, reason]) => String(reason));
  expect(explained.toSorted()).toEqual([...REASONS, ...VERDICTS].toSorted());
});
