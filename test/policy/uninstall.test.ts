import { describe, expect, it } from '@jest/globals';
import type { KairosNodeStatus, Step } from '../../api/types.ts';
import { STEPS } from '../../api/schemas/kairos-node.ts';
import {
  decideFirst,
  decideNext,
  mayBeCordoned,
  standingOf,
  type NodeFacts,
  type Situation,
  type Standing,
} from '../../policy/uninstall.ts';

const MARK = 'node/kairos-c0ffee00/uid-1';
const request = {
  kind: 'NodeOpUpgrade',
  namespace: 'fleet',
  name: 'v4',
  uid: 'u',
  generation: 1,
  attempt: 1,
} as const;
const inHand = (bootID = 'b1'): NonNullable<KairosNodeStatus['inHand']> => ({
  rollout: 'rollout/kairos-c0ffee00/fleet/v4',
  request,
  image: 'kairos:v4',
  version: 'v4',
  bootID,
  startedAt: '2026-01-01T00:00:00Z',
});
const at = (step: Step): KairosNodeStatus => ({
  inHand: inHand(),
  step,
  stepSince: '2026-01-01T00:00:00Z',
  message: 'at work',
});
const node = (change: Partial<NodeFacts> = {}): NodeFacts => ({
  name: 'worker-1',
  mark: MARK,
  bootID: 'b1',
  status: {},
  writtenIn: [],
  writing: false,
  ...change,
});
const untouched = node({ owner: MARK, status: at('Drain') });
const past = node({ name: 'worker-2', owner: MARK, status: at('Reboot') });
const held = node({ name: 'worker-3', owner: 'held:Lost', status: {} });
const strange = node({ name: 'worker-4', owner: 'node/other-c0ffee00/uid-4' });
const ending = node({ name: 'worker-5', bootID: 'b2', status: at('Uncordon') });

describe('a node, when the operator is to go, is', () => {
  it.each<[Standing, string, NodeFacts]>([
    ['free', 'without a mark', node()],
    ['free', 'with the report of its agent only', node({ status: { bootID: 'b1', bootState: 'active' } })],
    ['free', 'with a Job that an earlier upgrade left', node({ writtenIn: ['b1'] })],
    ['untouched', 'marked, and nothing more is known', node({ owner: MARK })],
    ['untouched', 'being drained', untouched],
    ['past', 'drained, and has a Job', node({ owner: MARK, status: at('Drain'), writtenIn: ['b1'] })],
    ['past', 'marked, its KairosNode gone, and has a Job', node({ owner: MARK, writtenIn: ['b1'] })],
    ['past', 'rebooting', past],
    ['past', 'writing its recovery image', node({ owner: MARK, status: at('Recovery') })],
    ['past', 'writing, its mark taken away by somebody', node({ status: at('Upgrade') })],
    ['past', 'writing, whatever else is said of it', node({ owner: 'held:UpgradeFailed', writing: true })],
    ['ending', 'in service in its new boot, its end not recorded', ending],
    ['held', 'kept out on purpose', held],
    ['strange', 'marked under another name', strange],
  ])('%s: %s', (expected, _, facts) => {
    expect(standingOf(facts)).toBe(expected);
  });

  it.each(STEPS)('past the point of no return at step %s, or not, as a recovery takes it', (step) => {
    const before: Step[] = ['PrePull', 'Gate', 'Mark', 'Cordon', 'Drain'];
    expect(standingOf(node({ owner: MARK, status: at(step) }))).toBe(before.includes(step) ? 'untouched' : 'past');
  });

  it.each<[boolean, KairosNodeStatus]>([
    [true, {}],
    [true, at('Cordon')],
    [true, at('Drain')],
    [false, at('Mark')],
    [false, at('Gate')],
  ])('perhaps cordoned by us (%s), by its step', (expected, status) => {
    expect(mayBeCordoned(status)).toBe(expected);
  });
});

describe('an uninstall, before anything is changed,', () => {
  const first = (nodes: NodeFacts[], heldNodes: Situation['heldNodes'] = 'refuse') => decideFirst({ nodes, heldNodes });

  it.each<[string, NodeFacts[]]>([
    ['without nodes in hand', [node()]],
    ['with nodes that are untouched or have ended', [node(), untouched, ending]],
  ])('cancels, %s', (_, nodes) => {
    expect(first(nodes)).toEqual({ action: 'cancel' });
  });

  it('is refused while a node is past the point of no return, with what to wait for and what no hooks would risk', () => {
    expect(first([untouched, past])).toEqual({
      action: 'refuse',
      reasons: [
        'node worker-2 is past the point of no return (step Reboot since 2026-01-01T00:00:00Z, at work): it must be taken to its verdict. Wait for that: kubectl get kairosnode worker-2 --watch; so that no further node is started: kubectl annotate -n fleet nodeopupgrade v4 --overwrite kairos.io/pause=uninstall; then uninstall again. With helm uninstall --no-hooks nobody reboots, verifies or uncordons worker-2 any more, nothing protects its write, and when it does not boot nobody says so',
      ],
    });
  });

  it('names all that stands against it', () => {
    const { reasons } = first([past, held, strange]) as { reasons: string[] };
    expect(reasons.map((reason) => reason.split(' ')[1])).toEqual(['worker-2', 'worker-3', 'worker-4']);
    for (const reason of reasons) expect(reason).toMatch(/uninstall again/);
  });

  it('says of a held node how to put it back, how to keep it cordoned, and how to put back all', () => {
    const message = 'not Ready 30m after its reboot';
    const lastAttempt = {
      rollout: 'r',
      specGeneration: 1,
      image: 'kairos:v4',
      verdict: 'Lost',
      finishedAt: '2026-01-01T00:00:00Z',
      message,
    } as const;
    const { reasons } = first([{ ...held, status: { lastAttempt } }]) as { reasons: string[] };
    expect(reasons).toEqual([
      `node worker-3 is kept out (held:Lost: ${message}), and nobody judges it any more once the operator is gone. If it serves, put it back: kubectl annotate node worker-3 kairos.io/upgrade-owner- && kubectl uncordon worker-3. If it is to stay cordoned, take only the mark away: kubectl annotate node worker-3 kairos.io/upgrade-owner-. To have all such nodes put back, set UNINSTALL_HELD_NODES=give-back. Then uninstall again`,
    ]);
  });

  it('is not refused for held nodes that are to be given back, but for the others', () => {
    expect(first([held], 'give-back')).toEqual({ action: 'cancel' });
    expect(first([held, strange], 'give-back')).toMatchObject({ action: 'refuse' });
  });
});

describe('an uninstall that is cancelling', () => {
  const next = (change: Partial<Situation>) =>
    decideNext({ nodes: [node()], rollouts: [], givenUp: false, heldNodes: 'refuse', ...change });
  const away = { trouble: 'Temporal does not answer' };

  it.each<[string, Partial<Situation>, object]>([
    ['is done when nothing is left', {}, { action: 'done', remarks: [] }],
    ['waits for a rollout', { rollouts: ['rollout/a'] }, { action: 'wait', reasons: ['rollout/a is open'] }],
    ['waits for a node that is given back', { nodes: [untouched] }, { action: 'wait' }],
    ['waits for a node that went past the point meanwhile', { nodes: [past] }, { action: 'wait' }],
    ['waits for an end to be recorded', { nodes: [ending] }, { action: 'wait' }],
    ['waits before it speaks of held nodes', { nodes: [past, held] }, { action: 'wait' }],
    ['is refused for a node that ended as held', { nodes: [held] }, { action: 'refuse' }],
    [
      'gives held nodes back where it is told to',
      { nodes: [held], heldNodes: 'give-back' },
      { action: 'giveBack', nodes: ['worker-3'] },
    ],
    ['waits for Temporal', away, { action: 'wait', reasons: ['Temporal does not answer'] }],
    ['waits for Temporal, with nodes in hand', { ...away, nodes: [untouched] }, { action: 'wait' }],
    [
      'gives back what is untouched, without Temporal',
      { ...away, givenUp: true, nodes: [untouched, past] },
      { action: 'giveBack', nodes: ['worker-1'] },
    ],
    ['never gives back a node past the point', { ...away, givenUp: true, nodes: [past] }, { action: 'wait' }],
    ['does not wait for a record without Temporal', { ...away, givenUp: true, nodes: [ending] }, { action: 'done' }],
    [
      'is refused for held nodes also without Temporal',
      { ...away, givenUp: true, nodes: [held] },
      { action: 'refuse' },
    ],
  ])('%s', (_, change, expected) => {
    expect(next(change)).toMatchObject(expected);
  });

  it('says at its end which rollouts stay open in a Temporal without a worker', () => {
    expect(next({ trouble: 'no worker answers', givenUp: true, rollouts: ['rollout/a'] })).toEqual({
      action: 'done',
      remarks: [
        'no worker answers; no node is in hand, so this goes on without it. These rollouts, open in Temporal, were asked to cancel, and end when an operator of this cluster takes up its tasks again: rollout/a',
      ],
    });
    expect(next({ ...away, givenUp: true })).toEqual({
      action: 'done',
      remarks: [
        'Temporal does not answer; no node is in hand, so this goes on without it. Rollouts that are open in Temporal end when an operator of this cluster takes up its tasks again',
      ],
    });
  });
});
