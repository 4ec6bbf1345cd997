import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import type { Condition, NodeOpUpgrade, RolloutStatus } from '../../api/types.ts';
import { VERDICTS } from '../../api/schemas/kairos-node.ts';
import { REASONS } from '../../policy/events.ts';
import { newsForUpgrade, newsOfNode } from '../../policy/node-events.ts';
import { newsOfUntouched, newsOfUpgrade } from '../../policy/upgrade-events.ts';
import { NOW, HAND, node, ended, reasons } from './event-states.ts';

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
