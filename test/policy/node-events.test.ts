import { describe, expect, it } from '@jest/globals';
import type { Condition } from '../../api/types.ts';
import { VERDICTS } from '../../api/schemas/kairos-node.ts';
import { newsForUpgrade, newsOfNode, type TalkingNode } from '../../policy/node-events.ts';
import { isFailure } from '../../policy/placement.ts';
import { at, NOW, HAND, node, inStep, ended, reasons } from './event-states.ts';

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
