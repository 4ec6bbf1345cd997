import { describe, expect, it, jest } from '@jest/globals';
import type { RolloutMemo } from '../../api/messages.ts';
import type { KairosNodeStatus, NodeOpUpgrade, RolloutPhase, RolloutStatus, Verdict } from '../../api/types.ts';
import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import type { NodeView } from '../../kube/nodes.ts';
import type { EngineState } from '../../policy/engine.ts';
import { mayBeLeft, recoverLeftover } from '../../watcher/leftovers.ts';
import { reconcileUpgrade } from '../../watcher/upgrades.ts';
import { documentText, tableRows } from '../docs/documents.ts';
import { UPGRADE_ID, notFound, watcher, type Done } from './table-rig.ts';

const [ROLLOUTS = [], , NODES = []] = tableRows(documentText('docs/watcher.md'));
type Rollout = Pick<RolloutStatus, 'phase'> & Partial<RolloutStatus>;
const upgrade = (rollout?: Rollout, more: Partial<NodeOpUpgrade['metadata']> = {}): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'uid-1', generation: 2, ...more },
  spec: { image: 'quay.io/kairos/hadron:v4.0.3' },
  ...(rollout && { status: { rollout: { workflowID: UPGRADE_ID, generation: 2, attempt: 3, ...rollout } } }),
});
const running = upgrade({ phase: 'Running' });
const asks = (name: 'pause' | 'retry', value: string) => ({ annotations: { [`kairos.io/${name}`]: value } });
const memo = (more: Partial<RolloutMemo> = {}): RolloutMemo => ({ uid: 'uid-1', generation: 2, attempt: 3, ...more });
const open: EngineState = { state: 'Open', memo: memo() };
const NOT_FOUND: EngineState = { state: 'NotFound' };
const CLOSED = ['Completed', 'Failed', 'Canceled', 'Terminated', 'TimedOut'] as const;
const FINAL: RolloutPhase[] = ['Completed', 'Failed', 'Cancelled'];
const deleting = { deletionTimestamp: '2026-03-01T10:00:00Z' };
const closedAs = (states: readonly (typeof CLOSED)[number][], more: Partial<RolloutMemo> = {}): EngineState[] =>
  states.map((state) => ({ state, memo: memo(more) }));

type Look = [resource: NodeOpUpgrade | undefined, engine: EngineState | undefined, done: Done];
const each = (resources: (NodeOpUpgrade | undefined)[], engines: (EngineState | undefined)[], done: Done): Look[] =>
  resources.flatMap((resource) => engines.map((engine): Look => [resource, engine, done]));

const GONE = [undefined, upgrade({ phase: 'Running' }, deleting)];
const ENDED = FINAL.map((phase) => upgrade({ phase }));
const RETRIED = FINAL.map((phase) => upgrade({ phase, retry: 'one' }, asks('retry', 'two')));
const pausedBy = (by: 'kubectl' | 'temporal') =>
  upgrade({ phase: 'Paused', paused: { by, reason: 'lunch', since: '2026-03-01T10:00:00Z' } });

/** One entry for each row, by its cells; each of its looks must do exactly this. */
const ROLLOUT_CASES: Record<string, Look[]> = {
  'gone, or being deleted | open | cancels it': each(GONE, [open], ['cancel', 'looks again']),
  'gone, or being deleted | closed, or unknown to Temporal | does nothing': each(
    GONE,
    [NOT_FOUND, ...closedAs(CLOSED)],
    [],
  ),
  'there | open, this generation | does nothing': each(
    [upgrade(), running, pausedBy('temporal'), upgrade({ phase: 'Running' }, asks('retry', 'two'))],
    [open],
    ['looks again'],
  ),
  '… with `kairos.io/pause`, the status does not say so | open, this generation | pauses it': each(
    [
      upgrade({ phase: 'Running' }, asks('pause', 'lunch')),
      { ...pausedBy('temporal'), metadata: upgrade(undefined, asks('pause', 'lunch')).metadata },
    ],
    [open],
    ['pause by kubectl', 'looks again'],
  ),
  '… without it, the status says: paused by kubectl | open, this generation | resumes it': each(
    [pausedBy('kubectl')],
    [open],
    ['resume by kubectl', 'looks again'],
  ),
  'there | open, same UID, another generation (edited) | cancels it, and looks again when it has closed': each(
    [running],
    [{ state: 'Open', memo: memo({ generation: 1 }) }],
    ['cancel', 'looks again'],
  ),
  'there | open, another UID (deleted and made again) | cancels it, and looks again when it has closed': each(
    [upgrade(), running],
    [{ state: 'Open', memo: memo({ uid: 'uid-0' }) }],
    ['cancel', 'looks again'],
  ),
  'ended | not open | does nothing': each(
    [...ENDED, upgrade({ phase: 'Failed', retry: 'two' }, asks('retry', 'two'))],
    [NOT_FOUND, ...closedAs(CLOSED)],
    [],
  ),
  'ended, with a new value of `kairos.io/retry` | not open | starts the next attempt': each(
    RETRIED,
    [NOT_FOUND, ...closedAs(CLOSED)],
    ['start 4 answering two', 'looks again'],
  ),
  '… that value was answered by a closed workflow | failed, terminated, timed out or cancelled | writes that end, and does not start again':
    [
      ...each(RETRIED, closedAs(['Failed', 'Terminated', 'TimedOut'], { attempt: 4, retry: 'two' }), [
        'end 4 Failed answering two',
        'looks again',
      ]),
      ...each(RETRIED, closedAs(['Canceled'], { attempt: 4, retry: 'two' }), [
        'end 4 Cancelled answering two',
        'looks again',
      ]),
    ],
  'not ended | unknown to Temporal (never started, or lost) | starts it': [
    ...each([upgrade()], [NOT_FOUND], ['start 1', 'looks again']),
    ...each([running], [NOT_FOUND], ['start 3', 'looks again']),
  ],
  'not ended | closed, another UID or generation | starts it': [
    ...each([upgrade()], closedAs(CLOSED, { uid: 'uid-0', attempt: 7 }), ['start 1', 'looks again']),
    ...each([running], closedAs(CLOSED, { generation: 1 }), ['start 4', 'looks again']),
    ...each([upgrade({ generation: 1, phase: 'Completed' })], closedAs(CLOSED, { generation: 1 }), [
      'start 4',
      'looks again',
    ]),
    // An attempt that begins answers the value that is there: its end would be followed by another one.
    ...each(
      [upgrade({ generation: 1, phase: 'Failed', retry: 'one' }, asks('retry', 'one'))],
      closedAs(CLOSED, { generation: 1 }),
      ['start 4 answering one', 'looks again'],
    ),
  ],
  'not ended | completed, this generation | writes the end `Failed`: the resource was restored': each(
    [upgrade(), running],
    closedAs(['Completed']),
    ['end 3 Failed', 'looks again'],
  ),
  'not ended | cancelled, this generation | writes the end `Cancelled`': each(
    [upgrade(), running],
    closedAs(['Canceled']),
    ['end 3 Cancelled', 'looks again'],
  ),
  'not ended | failed, terminated or timed out, this generation | writes the end `Failed`, with what to do; does not start again':
    each([upgrade(), running], closedAs(['Failed', 'Terminated', 'TimedOut']), ['end 3 Failed', 'looks again']),
  'any | Temporal does not answer | does nothing, says so in the condition `EngineReachable`': each(
    [undefined, upgrade(), running, ...ENDED, ...RETRIED],
    [undefined],
    [],
  ),
};

async function look(resource: NodeOpUpgrade | undefined, engine: EngineState | undefined): Promise<Done> {
  const { context, done, note } = watcher(engine, (request) => {
    if (request.verb === 'get') return resource ?? notFound(request);
    const { attempt, phase, message, retry } = (request.body as { status: { rollout: RolloutStatus } }).status.rollout;
    if (phase === 'Failed') expect(message).toContain('kubectl annotate -n fleet nodeopupgrade v4');
    void note(`end ${attempt} ${phase}${retry === undefined ? '' : ` answering ${retry}`}`);
    return resource;
  });
  const looked = reconcileUpgrade(context, 'fleet/v4', { again: () => void note('looks again'), ask: () => undefined });
  if (engine === undefined) await expect(looked).rejects.toThrow('does not answer');
  else await looked;
  return done;
}

describe('the table of docs/watcher.md, about a NodeOpUpgrade:', () => {
  const rows = ROLLOUTS.map((cells) => cells.join(' | '));

  it('has a case for each row, and a row for each case', () => {
    expect(rows).toEqual(Object.keys(ROLLOUT_CASES));
  });

  it.each(rows)('%s', async (row) => {
    const looks = ROLLOUT_CASES[row] ?? [];
    expect(looks.length).toBeGreaterThan(0);
    for (const [resource, engine, done] of looks) {
      expect({ resource, engine, done: await look(resource, engine) }).toEqual({ resource, engine, done });
    }
  });
});

const NODE_ID = 'node/kairos-c0ffee00/uid-n';
const VIEW: NodeView = {
  name: 'w-1',
  uid: 'uid-n',
  resourceVersion: '1',
  creationTimestamp: '2026-03-01T10:00:00Z',
  labels: {},
  unschedulable: true,
  ready: true,
  bootID: 'b2',
  kubeletVersion: 'v1.33.9+k3s1',
  architecture: 'amd64',
  controlPlane: false,
  pressures: [],
};
/** Its agent has reported from a boot after that of its last attempt. */
const evidence = (verdict: Verdict, bootID = 'b2'): KairosNodeStatus => ({
  bootID,
  bootState: 'active',
  release: { KAIROS_VERSION: 'v4.0.3' },
  lastAttempt: {
    verdict,
    bootID: 'b1',
    version: 'v4.0.3',
    image: 'i',
    rollout: 'r',
    specGeneration: 1,
    finishedAt: '2026-03-01T10:00:00Z',
  },
});
const RECOVERS = [`start ${NODE_ID} to recover`];
const NODE_CLOSED: EngineState[] = [NOT_FOUND, ...CLOSED.map((state): EngineState => ({ state }))];

const IN_HAND: NonNullable<KairosNodeStatus['inHand']> = {
  rollout: 'r',
  request: { kind: 'NodeOpUpgrade', namespace: 'fleet', name: 'v4', uid: 'uid-1', generation: 2, attempt: 1 },
  image: 'i',
  version: 'v4.0.3',
  bootID: 'b1',
  startedAt: '2026-03-01T10:00:00Z',
};

interface NodeLook {
  owner: string | undefined;
  engine: EngineState;
  status?: KairosNodeStatus;
  /** Its mark by the time it is read again, where it has changed. */
  read?: string;
  done: Done;
}
const AWAITED: Verdict[] = ['Lost', 'Unverified', 'NeverRebooted'];

const NODE_CASES: Record<string, NodeLook[]> = {
  'its workflow | open | does nothing': [{ owner: NODE_ID, engine: { state: 'Open' }, done: [] }],
  'its workflow | closed, or unknown to Temporal | reads the node again, and starts its workflow to recover it': [
    ...NODE_CLOSED.map((engine) => ({ owner: NODE_ID, engine, done: RECOVERS })),
    { owner: NODE_ID, engine: NOT_FOUND, read: 'held:Lost', done: [] },
  ],
  '`held:Lost`, `held:Unverified`, `held:NeverRebooted` | not open; new evidence | starts its workflow to judge the node again':
    AWAITED.flatMap((verdict) =>
      NODE_CLOSED.map((engine) => ({
        owner: `held:${verdict}`,
        engine,
        status: evidence(verdict),
        done: RECOVERS,
      })),
    ),
  '`held:…`, otherwise | any | does nothing: it is kept out on purpose': [
    ...AWAITED.map((verdict) => ({
      owner: `held:${verdict}`,
      engine: NOT_FOUND,
      status: evidence(verdict, 'b1'),
      done: [],
    })),
    ...(['UpgradeFailed', 'Failed', 'RolledBack', 'WrongVersion'] as const).map((verdict) => ({
      owner: `held:${verdict}`,
      engine: NOT_FOUND,
      status: evidence(verdict),
      done: [],
    })),
    { owner: 'held:Lost', engine: { state: 'Open' }, status: evidence('Lost'), done: [] },
  ],
  'none, and its KairosNode says `inHand`, of an earlier boot or before the image was touched | closed, or unknown to Temporal | starts its workflow to recover it: its end was cut off':
    [
      ...NODE_CLOSED.map((engine) => ({
        owner: undefined,
        engine,
        status: { inHand: IN_HAND, step: 'Soak' as const },
        done: RECOVERS,
      })),
      {
        owner: undefined,
        engine: NOT_FOUND,
        status: { inHand: { ...IN_HAND, bootID: 'b2' }, step: 'Drain' },
        done: RECOVERS,
      },
      // Freed by a person: rebooting it now would disturb a node that serves.
      {
        owner: undefined,
        engine: NOT_FOUND,
        status: { inHand: { ...IN_HAND, bootID: 'b2' }, step: 'Upgrade' },
        done: [],
      },
    ],
  'none, or somebody else’s | any | does nothing': [undefined, 'node/another-cluster/uid-n', 'kured'].flatMap((owner) =>
    [...NODE_CLOSED, { state: 'Open' } as const].map((engine) => ({
      owner,
      engine,
      status: evidence('Lost'),
      done: [],
    })),
  ),
};

async function lookAtNode({ owner, engine, status = {}, read = owner }: NodeLook): Promise<Done> {
  const marked = (mark: string | undefined) => (mark === undefined ? {} : { owner: mark });
  const { context, done, nodes, kairosNodes } = watcher(engine, () => ({
    metadata: {
      name: VIEW.name,
      uid: VIEW.uid,
      annotations: read === undefined ? {} : { 'kairos.io/upgrade-owner': read },
    },
    spec: { unschedulable: true },
    status: { nodeInfo: { bootID: VIEW.bootID }, conditions: [{ type: 'Ready', status: 'True' }] },
  }));
  const node = { ...VIEW, ...marked(owner) };
  nodes.set(VIEW.name, node);
  kairosNodes.set(VIEW.name, { name: VIEW.name, spec: {}, status } as KairosNodeView);
  const describes = jest.spyOn(context.engine, 'describe');
  await recoverLeftover(context, VIEW.name);
  // Temporal is asked only about marks that may be left: each node is looked at once a minute.
  expect(describes).toHaveBeenCalledTimes(mayBeLeft(context, node) ? 1 : 0);
  return done;
}

describe('the table of docs/watcher.md, about a node:', () => {
  const rows = NODES.map((cells) => cells.join(' | ').replaceAll("'", '’'));

  it('has a case for each row, and a row for each case', () => {
    expect(rows).toEqual(Object.keys(NODE_CASES));
  });

  it.each(rows)('%s', async (row) => {
    const looks = NODE_CASES[row] ?? [];
    expect(looks.length).toBeGreaterThan(0);
    for (const given of looks) expect({ ...given, done: await lookAtNode(given) }).toEqual(given);
  });
});
