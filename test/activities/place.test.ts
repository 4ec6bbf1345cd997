import { Context, asyncLocalStorage, type Info } from '@temporalio/activity';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { OutageIndex } from '../../activities/outage-index.ts';
import { waitForPlace } from '../../activities/place.ts';
import type { RolloutSpec } from '../../api/rollout-spec.ts';
import type { KairosNodeStatus, NodeOpUpgrade } from '../../api/types.ts';
import { KubeError } from '../../kube/errors.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { Reflector } from '../../kube/reflector.ts';
import { HAND, MINUTE, SECOND, elapse } from './step-world.ts';

const NODE: NodeView = {
  name: 'n-1',
  uid: 'uid-1',
  resourceVersion: '1',
  creationTimestamp: '2026-03-01T10:00:00Z',
  labels: {},
  unschedulable: false,
  ready: true,
  bootID: 'boot-1',
  kubeletVersion: 'v1.33.9',
  architecture: 'amd64',
  controlPlane: false,
  pressures: [],
};
const HERS = 'rollout/kairos-c/ns/another';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

/** Waits for the place of n-1; `now` changes what the watch says of it, and of whose hand it is in. */
function waiting(measured: KairosNodeStatus['lastAttempt'][] = []) {
  const nodes = new Map([['n-1', NODE]]);
  const status: KairosNodeStatus = { bootID: 'boot-1' };
  const writes: { status: Record<string, unknown> }[] = [];
  const pods = new Map<string, unknown>();
  const hands = new Map<string, object>();
  const upgrades: NodeOpUpgrade[] = [];
  const listeners: ((name: string, node: NodeView | undefined) => void)[] = [];
  const reflector = {
    get: (name: string) => nodes.get(name),
    values: () => nodes.values(),
    onChange: (listener: (typeof listeners)[number]) => listeners.push(listener),
  } as unknown as Reflector<NodeView>;
  const never = new Promise<never>(() => undefined);
  /** The API server, as far as a status is written to it: what is written is delivered at once. */
  const request = async ({ verb, body }: { verb: string; body?: { status: Record<string, unknown> } }) => {
    await Promise.resolve();
    if (said.away) throw new KubeError('away', { verb, path: '/', reason: 'Unreachable', retryable: true });
    if (verb === 'create') {
      pods.set('kept', { made: verb, uid: 'p', phase: 'Pending', deleting: false, containers: [] });
      return { metadata: { name: 'p', uid: 'p' } };
    }
    if (body !== undefined) {
      writes.push(body);
      Object.assign(status, body.status);
      for (const [field, value] of Object.entries(status))
        if (value === null) delete (status as Record<string, unknown>)[field];
    }
    return { metadata: { name: 'n-1', uid: 'k', resourceVersion: '1' }, status };
  };
  const pulled = {
    uid: 'p',
    phase: 'Succeeded',
    deleting: false,
    containers: [{ terminated: {}, image: 'i@sha256:1' }],
  };
  pods.set('kept', pulled);
  const view = {
    ref: HAND.cluster,
    client: { request },
    nodes: reflector,
    pods: { get: () => pods.get('kept') },
    kairosNodes: {
      values: () => measured.map((lastAttempt) => ({ status: { lastAttempt } })),
      get: (name: string) =>
        name === 'n-1'
          ? { name, resourceVersion: '1', status: { ...status } }
          : { name, resourceVersion: '1', status: { inHand: { request: hands.get(name) } } },
      waitFor: (_name: unknown, _decide: unknown, signal: AbortSignal) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    },
    upgrades: { values: () => upgrades },
    outages: new OutageIndex(reflector),
  } as unknown as ClusterView;
  const beats: { waitsFor?: string }[] = [];
  const said = { beats, answer: undefined as unknown, writes, status, pods, upgrades, away: false };
  const now = (change: Partial<NodeView>, rollout?: string) => {
    if (rollout === undefined) delete status.inHand;
    else status.inHand = { rollout } as NonNullable<KairosNodeStatus['inHand']>;
    const node = { ...NODE, ...change };
    nodes.set('n-1', node);
    for (const listener of listeners) listener('n-1', node);
  };
  /** Of other nodes: what they are, and in whose hand. */
  const other = (name: string, change: Partial<NodeView>, request?: object) => {
    const node = { ...NODE, name, uid: `uid-${name}`, ...change };
    nodes.set(name, node);
    if (request !== undefined) hands.set(name, request);
    for (const listener of listeners) listener(name, node);
  };
  /** `after`: the last heartbeat of the attempt before this one, and how long ago the wait was asked for. */
  const begin = (spec: Partial<RolloutSpec> = {}, after?: { heartbeatDetails: unknown; agoMs: number }) => {
    const { heartbeatDetails, agoMs = 0 } = after ?? {};
    const scheduledTimestampMs = Date.now() - agoMs;
    const info = { scheduledTimestampMs, heartbeatTimeoutMs: 4 * SECOND, heartbeatDetails } as Info;
    const none = undefined as never;
    const beat = (details: unknown) => void beats.push(details as { waitsFor?: string });
    const context = new Context(info, never, new AbortController().signal, beat, none, none, none, none);
    void asyncLocalStorage
      .run(context, () =>
        waitForPlace(view, {
          ...HAND,
          spec: { ...HAND.spec, ...spec },
          reason: 'another rollout has node n-1 in hand',
        }),
      )
      .then((answer) => (said.answer = answer));
  };
  return { said, now, other, begin };
}

describe('the wait for a place', () => {
  it('says with each heartbeat whose hand the node is in, and ends when it is in nobody’s', async () => {
    const { said, now, begin } = waiting();
    now({ owner: HAND.workflowID, unschedulable: true }, HERS);
    begin();
    await elapse(3 * SECOND);
    expect(new Set(said.beats.map(({ waitsFor }) => waitsFor))).toEqual(
      new Set([`node n-1 is out already: ${HERS} has it in hand`]),
    );
    now({});
    await elapse(0);
    expect(said.answer).toEqual({ open: true });
  });

  it('that is open at first sight has a moment’s patience, in which what refused the node is seen', async () => {
    const { said, now, begin } = waiting();
    begin();
    await elapse(500);
    expect(said.answer).toBeUndefined();
    now({ owner: HAND.workflowID }, HERS);
    await elapse(10 * SECOND);
    expect(said.answer).toBeUndefined();
    now({});
    await elapse(0);
    expect(said.answer).toEqual({ open: true });
  });

  it('that is open at first sight, and stays so, is over after that moment', async () => {
    const { said, begin } = waiting();
    begin();
    await elapse(SECOND);
    expect(said.answer).toEqual({ open: true });
  });

  it('names at its deadline what it has waited for', async () => {
    const { said, now, begin } = waiting();
    now({ unschedulable: true });
    begin();
    await elapse(60 * MINUTE);
    expect(said.answer).toEqual({
      open: false,
      reason:
        'waited for its place in vain: node n-1 is cordoned by somebody else: kubectl uncordon n-1 when it may be upgraded',
    });
  });

  it('shows in the KairosNode which gate is closed, since when, and nothing any more once it is open', async () => {
    const { said, now, begin } = waiting();
    now({ pressures: ['DiskPressure'] });
    begin();
    await elapse(1100);
    expect(said.status).toMatchObject({
      step: 'Gate',
      rollout: HAND.rolloutID,
      message: 'waiting at the gate Pressure: node n-1 has DiskPressure: kubectl describe node n-1',
    });
    const since = said.status.stepSince;
    await elapse(60 * SECOND);
    expect(said.writes.length).toBe(1);
    now({ pressures: ['DiskPressure', 'PIDPressure'] });
    await elapse(3 * SECOND);
    expect(said.status).toMatchObject({ message: expect.stringContaining('PIDPressure'), stepSince: since });
    now({ unschedulable: true });
    await elapse(3 * SECOND);
    expect(said.status.message).toMatch(/^waiting at the gate Cordon: /);
    expect(said.status.stepSince).not.toBe(since);
    now({});
    await elapse(SECOND);
    expect(said.answer).toEqual({ open: true });
    expect(said.status).not.toHaveProperty('step');
    expect(said.status).not.toHaveProperty('message');
    expect(said.writes.length).toBe(4);
  });

  it('is given up for the whole wave where others have taken its budget for all of its time', async () => {
    const { said, other, begin } = waiting();
    other('w-9', { unschedulable: true });
    begin();
    await elapse(61 * MINUTE);
    expect(said.answer).toEqual({
      open: false,
      reason: 'waited for its place in vain: budget taken: out are w-9',
      stop: 'BudgetTaken: in 1h00m no node could be started: out are w-9, which this rollout has not in hand: kubectl get nodes; bring them back to service, or raise maxUnavailable, then try again',
    });
  });

  it('has all the time that a node takes which this rollout has in hand itself', async () => {
    const { said, other, begin } = waiting();
    other('w-9', { owner: 'node/kairos-c/uid-w-9' }, HAND.request);
    begin();
    await elapse(70 * MINUTE);
    expect(said.answer).toBeUndefined();
    other('w-9', {});
    await elapse(0);
    expect(said.answer).toEqual({ open: true });
  });

  it('is no longer for that of an earlier attempt, which nobody finishes', async () => {
    const { said, other, begin } = waiting();
    other('w-9', { owner: 'node/kairos-c/uid-w-9' }, { ...HAND.request, attempt: 0 });
    begin();
    await elapse(61 * MINUTE);
    expect(said.answer).toMatchObject({ open: false, stop: expect.stringContaining('out are w-9') });
  });

  it('goes on in another attempt with what was waited before, and counts what passed between the two', async () => {
    const cordoned = { unschedulable: true };
    const first = waiting();
    first.now(cordoned);
    first.begin({ gateTimeoutMs: 60 * MINUTE });
    await elapse(30 * MINUTE);
    const heartbeatDetails = first.said.beats.at(-1);
    const second = waiting();
    second.now(cordoned);
    await elapse(10 * MINUTE);
    second.begin({ gateTimeoutMs: 60 * MINUTE }, { heartbeatDetails, agoMs: 40 * MINUTE });
    await elapse(19 * MINUTE);
    expect(second.said.answer).toBeUndefined();
    await elapse(2 * MINUTE);
    expect(second.said.answer).toMatchObject({ open: false });
  });

  it('does so with the deadline of a health gate, which may be longer than an attempt', async () => {
    const healthGates = [
      { name: 'pool', intervalMs: 1000, timeoutMs: 30 * MINUTE, nodes: { selector: { matchLabels: { a: 'b' } } } },
    ];
    const first = waiting();
    first.begin({ healthGates });
    await elapse(20 * MINUTE);
    expect(first.said.answer).toBeUndefined();
    const second = waiting();
    second.begin({ healthGates }, { heartbeatDetails: first.said.beats.at(-1), agoMs: 20 * MINUTE });
    await elapse(9 * MINUTE);
    expect(second.said.answer).toBeUndefined();
    await elapse(2 * MINUTE);
    expect(second.said.answer).toMatchObject({ open: false, reason: expect.stringContaining('health gate pool') });
  });

  it('leaves the KairosNode of a node alone that another rollout has in hand', async () => {
    const { said, now, begin } = waiting();
    now({ owner: HAND.workflowID, unschedulable: true }, HERS);
    begin();
    await elapse(10 * SECOND);
    expect(said.writes).toEqual([]);
  });

  it('says of a node that it gave up what it has waited for', async () => {
    const { said, now, begin } = waiting();
    now({ ready: false });
    begin();
    await elapse(60 * MINUTE);
    expect(said.status.message).toMatch(/^Skipped: waited for its place in vain: node n-1 is not Ready/);
    expect(said.status).not.toHaveProperty('step');
  });

  it('is over where a NodeOpUpgrade that was created later wants the node with another image, and says which', async () => {
    const { said, now, begin } = waiting();
    now({ owner: HAND.workflowID, unschedulable: true }, HERS);
    begin();
    await elapse(3 * SECOND);
    const upgrade = (uid: string, image: string, minute: number): NodeOpUpgrade => ({
      apiVersion: 'operator.kairos.io/v1alpha1',
      kind: 'NodeOpUpgrade',
      metadata: { namespace: 'ns', name: `up-${uid}`, uid, creationTimestamp: `2026-03-01T10:0${minute}:00Z` },
      spec: { image },
    });
    said.upgrades.push(upgrade('u', 'i', 1), upgrade('same', 'i', 2));
    await elapse(3 * SECOND);
    expect(said.answer).toBeUndefined();
    said.upgrades.push(upgrade('other', 'j', 3));
    await elapse(2 * SECOND);
    expect(said.answer).toEqual({
      open: false,
      reason: 'node n-1 is left to NodeOpUpgrade ns/up-other, which was created later and wants j: not touched',
      supersededBy: 'ns/up-other',
    });
    expect(said.writes).toEqual([]);
  });

  it('leaves nothing of it in the KairosNode, though the API server is away when it ends', async () => {
    const { said, now, begin } = waiting();
    now({ pressures: ['DiskPressure'] });
    begin();
    await elapse(1100);
    expect(said.status.step).toBe('Gate');
    said.away = true;
    now({});
    await elapse(MINUTE);
    expect(said.answer).toBeUndefined();
    said.away = false;
    await elapse(2 * SECOND);
    expect(said.answer).toEqual({ open: true });
    expect(said.status).not.toHaveProperty('step');
    expect(said.status).not.toHaveProperty('message');
  });

  it('makes the pod again that keeps the image, should somebody delete it', async () => {
    const { said, now, begin } = waiting();
    said.pods.clear();
    now({});
    begin();
    await elapse(1100);
    expect(said.status.message).toMatch(/^waiting at the gate Image: the pod that keeps i on node n-1 was deleted/);
    expect(said.pods.get('kept')).toMatchObject({ made: 'create' });
  });
});

describe('the wait for a window', () => {
  const NIGHTLY = [{ cron: '0 22 * * *', durationMs: 2 * 60 * MINUTE, timeZone: 'UTC' }];
  const took = (minutes: number): KairosNodeStatus['lastAttempt'] => ({
    rollout: HAND.rolloutID,
    specGeneration: 1,
    image: 'i',
    verdict: 'Succeeded',
    startedAt: '2026-03-02T10:00:00Z',
    finishedAt: new Date(Date.parse('2026-03-02T10:00:00Z') + minutes * MINUTE).toISOString(),
  });
  const at = (time: string) => jest.setSystemTime(new Date(`2026-03-02T${time}:00Z`));

  it('says until when it is closed, before anything else, and ends when it opens', async () => {
    at('20:00');
    const { said, now, begin } = waiting();
    now({ pressures: ['DiskPressure'] });
    begin({ windows: NIGHTLY });
    await elapse(1100);
    expect(said.status.message).toBe('waiting at the gate Window: window closed until 2026-03-02T22:00:00Z');
    now({});
    await elapse(119 * MINUTE);
    expect(said.answer).toBeUndefined();
    await elapse(MINUTE);
    expect(said.answer).toEqual({ open: true });
    expect(said.status).not.toHaveProperty('step');
  });

  it('does not count for the deadline, but what is waited for while it is open does', async () => {
    at('20:00');
    const { said, now, begin } = waiting();
    now({ unschedulable: true });
    const short = [{ cron: '0 22 * * *', durationMs: 10 * MINUTE, timeZone: 'UTC' }];
    begin({ windows: short, gateTimeoutMs: 15 * MINUTE });
    await elapse(26 * 60 * MINUTE + 4 * MINUTE);
    expect(said.answer).toBeUndefined();
    await elapse(2 * MINUTE);
    expect(said.answer).toMatchObject({ open: false, reason: expect.stringContaining('cordoned by somebody else') });
  });

  it('goes on where a node would not be done before it closes, and that does not count either', async () => {
    at('23:20');
    const { said, begin } = waiting([took(45)]);
    begin({ windows: NIGHTLY, gateTimeoutMs: 10 * MINUTE });
    await elapse(30 * MINUTE);
    expect(said.answer).toBeUndefined();
    expect(said.status.message).toBe(
      'waiting at the gate Window: window closed until 2026-03-03T22:00:00Z: it is open until 2026-03-03T00:00:00Z, but a node takes 45m00s, by the 1 of this rollout that are measured',
    );
    await elapse(22 * 60 * MINUTE + 11 * MINUTE);
    expect(said.answer).toEqual({ open: true });
  });

  it('ends at the deadline where no window is long enough', async () => {
    at('22:00');
    const { said, begin } = waiting([took(180)]);
    begin({ windows: NIGHTLY, gateTimeoutMs: 10 * MINUTE });
    await elapse(11 * MINUTE);
    expect(said.answer).toMatchObject({
      open: false,
      reason: expect.stringContaining('window too short: a node takes 3h00m'),
    });
  });

  it('is heard of by a health gate, whose deadline does not count before it opens', async () => {
    at('21:00');
    const { said, begin } = waiting();
    const healthGates = [
      {
        name: 'pool',
        intervalMs: 1000,
        timeoutMs: 10 * MINUTE,
        nodes: { selector: { matchLabels: { pool: 'none' } } },
      },
    ];
    begin({ windows: NIGHTLY, healthGates });
    await elapse(69 * MINUTE);
    expect(said.answer).toBeUndefined();
    expect(said.status.message).toMatch(
      /^waiting at the gate Health: health gate pool: no node has the labels of its selector; seen since/,
    );
    await elapse(2 * MINUTE);
    expect(said.answer).toMatchObject({ open: false, reason: expect.stringContaining('health gate pool') });
  });
});
