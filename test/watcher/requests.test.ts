import { describe, expect, it } from '@jest/globals';
import type { NodeOpUpgrade, RolloutStatus } from '../../api/types.ts';
import type { EngineState } from '../../policy/engine.ts';
import type { UpdateAnswer } from '../../watcher/engine.ts';
import { askRollout, reconcileUpgrade } from '../../watcher/upgrades.ts';
import { documentText, tableRows } from '../docs/documents.ts';
import { UPGRADE_ID, watcher } from './table-rig.ts';

const [, REQUESTS = []] = tableRows(documentText('docs/watcher.md'));
type Requests = NonNullable<NonNullable<NodeOpUpgrade['status']>['requests']>;

const upgrade = (
  annotations: Record<string, string>,
  rollout: Partial<RolloutStatus> = {},
  requests: Requests = {},
): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'uid-1', generation: 2, annotations },
  spec: { image: 'quay.io/kairos/hadron:v4.0.3' },
  status: { rollout: { workflowID: UPGRADE_ID, generation: 2, attempt: 3, phase: 'Running', ...rollout }, requests },
});
const OPEN: EngineState = { state: 'Open', memo: { uid: 'uid-1', generation: 2, attempt: 3 } };
const EDITED: EngineState = { state: 'Open', memo: { uid: 'uid-1', generation: 1, attempt: 2 } };
const CLOSED: EngineState = { state: 'Completed', memo: { uid: 'uid-1', generation: 2, attempt: 3 } };
const CLOSED_BEFORE: EngineState = { state: 'Failed', memo: { uid: 'uid-1', generation: 1, attempt: 3 } };
const NOT_FOUND: EngineState = { state: 'NotFound' };

const SKIP = { 'kairos.io/skip': 'w-1, w-2: their disks are replaced' };
const taken = (value: string, more: object = {}) => ({
  value,
  attempt: 3,
  number: 4,
  at: '2026-03-01T10:00:00Z',
  accepted: true,
  message: 'it is',
  ...more,
});
const known = (more: object = {}): Requests => ({ skip: taken(SKIP['kairos.io/skip'], more) });

/** What the watcher did: what it asked of the workflow, and what it wrote into `status.requests`. */
async function look(resource: NodeOpUpgrade, engine: EngineState, answered?: UpdateAnswer) {
  const written: Record<string, unknown>[] = [];
  const { context, done, whys, inputs } = watcher(
    engine,
    ({ verb, body }) => {
      const { requests } = ((body ?? {}) as { status?: { requests?: Record<string, unknown> } }).status ?? {};
      if (verb !== 'get' && requests !== undefined) written.push(requests);
      return resource;
    },
    answered,
  );
  let asks = false;
  const next = { again: () => void done.push('at once again'), ask: () => void (asks = true) };
  await reconcileUpgrade(context, 'fleet/v4', next);
  const asked = asks ? askRollout(context, 'fleet/v4') : Promise.resolve();
  const failure = await asked.then(
    () => undefined,
    (error: Error) => error.message,
  );
  return { done: done.filter((what) => what !== 'looks again'), written, failure, whys, control: inputs[0]?.control };
}

const ASKED = 'skip {"by":"kubectl","node":"w-1, w-2","reason":"their disks are replaced"} as skip/3/1/…';

const CASES: Record<string, () => Promise<void>> = {
  'open | open, this generation | sends it as an update, and writes the answer into `status.requests`': async () => {
    const { done, written } = await look(upgrade(SKIP), OPEN);
    expect(done).toEqual([ASKED]);
    expect(written).toEqual([
      {
        skip: {
          value: SKIP['kairos.io/skip'],
          attempt: 3,
          number: 1,
          at: expect.any(String),
          gone: null,
          accepted: true,
          message: 'it is',
        },
      },
    ]);
    const refused = await look(upgrade(SKIP), OPEN, { accepted: false, message: 'there is no w-2' });
    expect(refused.written).toMatchObject([{ skip: { accepted: false, message: 'there is no w-2' } }]);
    // It has just closed: the next look answers.
    expect(await look(upgrade(SKIP), OPEN, 'Closed')).toMatchObject({ done: [ASKED], written: [], failure: undefined });
  },
  'open, and no worker answers | open, this generation | says so in `status.requests`, and sends it again, under the same id':
    async () => {
      const first = await look(upgrade(SKIP), OPEN, 'NotAnswered');
      expect(first).toMatchObject({ done: [ASKED], failure: 'no worker has answered kairos.io/skip' });
      expect(first.written).toMatchObject([{ skip: { number: 1, accepted: null } }]);
      const { accepted: _, message: __, ...waiting } = taken(SKIP['kairos.io/skip'], { number: 1 });
      const second = await look(upgrade(SKIP, {}, { skip: waiting }), OPEN, 'NotAnswered');
      expect(second).toMatchObject({ done: [ASKED], written: [] });
    },
  'open | not open, ended | answers that the attempt has ended, before it starts another one': async () => {
    const ended = upgrade({ ...SKIP, 'kairos.io/retry': 'two' }, { phase: 'Completed', retry: 'one' });
    for (const engine of [CLOSED, NOT_FOUND]) {
      const { done, written } = await look(ended, engine);
      expect(done).toEqual(['start 4 answering two']);
      expect(written).toMatchObject([
        {
          skip: {
            accepted: false,
            attempt: 3,
            message: expect.stringMatching(
              /^attempt 3 has ended as Completed: there is nothing to skip; .*kairos.io\/retry/,
            ),
          },
        },
      ]);
    }
  },
  'open, to try nodes again which failed or were left out | not open, ended | starts the next attempt, in which others stay left out, and answers that':
    async () => {
      const at = '2026-03-01T10:00:00Z';
      const ended: Partial<RolloutStatus> = {
        phase: 'Failed',
        failed: [{ name: 'w-1', verdict: 'RolledBack' }],
        skipped: [
          { name: 'w-2', by: 'kubectl', at },
          { name: 'w-3', by: 'kubectl', at },
        ],
      };
      const { done, written, control } = await look(upgrade({ 'kairos.io/retry-node': 'w-1, w-2' }, ended), CLOSED);
      expect(done).toEqual(['start 4']);
      expect(control).toMatchObject({ skips: { 'w-3': { by: 'kubectl', at } }, skipped: [] });
      expect(written).toMatchObject([
        { retryNode: { attempt: 3, number: 1, accepted: null, message: 'the next attempt begins' } },
        {
          retryNode: { attempt: 3, number: 1, accepted: true, message: expect.stringMatching(/^attempt 4 has begun/) },
        },
      ]);
      expect((await look(upgrade({ 'kairos.io/retry-node': '*' }, ended), CLOSED)).done).toEqual(['start 4']);
      // Neither nodes that nobody knows, nor a dry run, nor one that has been answered.
      for (const [value, more] of [
        ['w-9', {}],
        ['w-1', { phase: 'Planned' }],
        ['*', { failed: [] }],
      ] satisfies [string, Partial<RolloutStatus>][]) {
        const refused = await look(upgrade({ 'kairos.io/retry-node': value }, { ...ended, ...more }), CLOSED);
        expect(refused).toMatchObject({
          done: [],
          written: [{ retryNode: { accepted: false, message: expect.stringContaining('there is nothing to retry') } }],
        });
      }
      const answered = { retryNode: taken('w-1') };
      expect(await look(upgrade({ 'kairos.io/retry-node': 'w-1' }, ended, answered), CLOSED)).toMatchObject({
        done: [],
      });
    },
  'open, and was asked of an earlier attempt | open, this generation | sends a skip; answers anything else: that attempt was meant':
    async () => {
      const { accepted: _, message: __, ...waiting } = taken('', { number: 1, attempt: 2 });
      const late = (kind: keyof Requests, annotation: string, value: string) =>
        look(upgrade({ [annotation]: value }, {}, { [kind]: { ...waiting, value } }), OPEN);
      expect(await late('abort', 'kairos.io/abort', 'enough')).toMatchObject({
        done: [],
        written: [
          {
            abort: {
              attempt: 3,
              accepted: false,
              message:
                'attempt 2 ended before this was answered, and attempt 3 was not meant: write another value to ask that',
            },
          },
        ],
      });
      expect(await late('approve', 'kairos.io/approve', 'rest')).toMatchObject({ done: [] });
      expect(await late('retryNode', 'kairos.io/retry-node', 'w-1')).toMatchObject({
        done: [],
        written: [{ retryNode: { accepted: true, message: expect.stringContaining('attempt 3 has begun') } }],
      });
      expect(await late('skip', 'kairos.io/skip', 'w-1')).toMatchObject({
        done: ['skip {"by":"kubectl","node":"w-1"} as skip/3/1/…'],
        written: [{ skip: { accepted: true } }],
      });
    },
  'open | otherwise | leaves it for the attempt that comes': async () => {
    expect(await look(upgrade(SKIP), EDITED)).toMatchObject({ done: ['cancel'], written: [] });
    const edited = upgrade(SKIP, { generation: 1, phase: 'Failed' });
    expect(await look(edited, CLOSED_BEFORE)).toMatchObject({ done: ['start 4', 'at once again'], written: [] });
  },
  'answered | any | does nothing, whatever the attempt': async () => {
    for (const more of [{}, { accepted: false }, { attempt: 1 }])
      for (const [engine, phase] of [
        [OPEN, 'Running'],
        [CLOSED, 'Completed'],
      ] as const)
        expect(await look(upgrade(SKIP, { phase }, known(more)), engine)).toMatchObject({ done: [], written: [] });
  },
  'answered, and its annotation is gone | any | notes that: the same value asks anew': async () => {
    expect((await look(upgrade({}, {}, known()), OPEN)).written).toEqual([{ skip: { gone: true } }]);
    expect((await look(upgrade({}, {}, known({ gone: true })), OPEN)).written).toEqual([]);
    const again = await look(upgrade(SKIP, {}, known({ gone: true })), OPEN);
    expect(again.done).toEqual([ASKED.replace('/3/1/', '/3/5/')]);
  },
};

describe('the table of docs/watcher.md, about what people ask by annotation:', () => {
  const rows = REQUESTS.map((cells) => cells.join(' | '));

  it('has a case for each row, and a row for each case', () => {
    expect(rows).toEqual(Object.keys(CASES));
  });

  it.each(rows)('%s', async (row) => {
    await CASES[row]?.();
  });
});

describe('an annotation', () => {
  it.each([
    [{ 'kairos.io/approve': 'canary' }, 'approve {"by":"kubectl","wave":"canary"} as approve/3/1/…'],
    [
      { 'kairos.io/approve': 'canary: all green: yes' },
      'approve {"by":"kubectl","wave":"canary","reason":"all green: yes"} as approve/3/1/…',
    ],
    [{ 'kairos.io/retry-node': 'w-1' }, 'retry {"by":"kubectl","node":"w-1"} as retryNode/3/1/…'],
    [{ 'kairos.io/retry-node': '*' }, 'retry {"by":"kubectl","node":"*"} as retryNode/3/1/…'],
    [{ 'kairos.io/abort': 'alarm: rack 4' }, 'abort {"by":"kubectl","reason":"alarm: rack 4"} as abort/3/1/…'],
    [{ 'kairos.io/abort': '' }, 'abort {"by":"kubectl"} as abort/3/1/…'],
  ])('%j asks for that', async (annotations, asked) => {
    expect((await look(upgrade(annotations), OPEN)).done).toEqual([asked]);
  });

  it('is asked for by whoever wrote it, as the API server knows them', async () => {
    const wrote = (manager: string, annotation: string) => ({
      manager,
      time: '2026-03-01T10:00:00Z',
      fieldsV1: { 'f:metadata': { 'f:annotations': { [`f:${annotation}`]: {} } } },
    });
    const asked = upgrade({ 'kairos.io/abort': 'enough', 'kairos.io/skip': 'w-1' });
    const managedFields = [wrote('ana', 'kairos.io/abort'), wrote('kubectl-annotate', 'kairos.io/skip')];
    expect((await look({ ...asked, metadata: { ...asked.metadata, managedFields } as never }, OPEN)).done).toEqual([
      'skip {"by":"kubectl","node":"w-1","who":"kubectl-annotate"} as skip/3/1/…',
      'abort {"by":"kubectl","reason":"enough","who":"ana"} as abort/3/1/…',
    ]);
  });

  it('that says not to abort asks for nothing', async () => {
    expect(await look(upgrade({ 'kairos.io/abort': 'false' }), OPEN)).toMatchObject({ done: [], written: [] });
  });

  it('comes after a pause, and an abort after everything else, also where nobody answers', async () => {
    const all = { 'kairos.io/abort': 'enough', 'kairos.io/pause': 'wait', ...SKIP, 'kairos.io/approve': 'rest' };
    const { done, failure } = await look(upgrade(all), OPEN, 'NotAnswered');
    expect(done.map((what) => what.split(' ')[0])).toEqual(['pause', 'approve', 'skip', 'abort']);
    expect(failure).toBe('no worker has answered kairos.io/approve, kairos.io/skip, kairos.io/abort');
  });

  it('that fails to be asked keeps no abort from being asked', async () => {
    const { context, done } = watcher(OPEN, () => upgrade({ 'kairos.io/abort': 'enough', ...SKIP }));
    const { engine } = context;
    const asked = engine.update.bind(engine);
    engine.update = (id, name, ...more) =>
      name === 'skip' ? Promise.reject(new Error('too many updates')) : asked(id, name, ...more);
    await expect(askRollout(context, 'fleet/v4')).rejects.toThrow('too many updates');
    expect(done).toEqual(['abort {"by":"kubectl","reason":"enough"} as abort/3/1/…']);
  });

  it('that is too long is refused without asking', async () => {
    const { done, written } = await look(upgrade({ 'kairos.io/skip': 'w-1,'.repeat(1_500) }), OPEN);
    expect(done).toEqual([]);
    expect(written).toMatchObject([
      { skip: { accepted: false, message: expect.stringContaining('longer than 4000') } },
    ]);
  });
});

describe('a retry of nodes that the rollout has no time for any more', () => {
  const RETRY = { 'kairos.io/retry-node': 'w-1' };
  const why = 'wave workers has stopped';

  it('waits for the next attempt, says so once, and is no failure of the look', async () => {
    const first = await look(upgrade(RETRY), OPEN, { next: why });
    expect(first).toMatchObject({ failure: undefined, written: [{ retryNode: { accepted: null, message: why } }] });
    const { accepted: _, ...waiting } = taken('w-1', { number: 1, message: why });
    expect(await look(upgrade(RETRY, {}, { retryNode: waiting }), OPEN, { next: why })).toMatchObject({ written: [] });
  });

  it('begins it when this one has ended, and is forgotten when it is taken away', async () => {
    const { accepted: _, ...waiting } = taken('w-1', { number: 1, message: why });
    const ended: Partial<RolloutStatus> = { phase: 'Failed', failed: [{ name: 'w-1', verdict: 'RolledBack' }] };
    const requests = { retryNode: waiting };
    expect((await look(upgrade(RETRY, ended, requests), CLOSED)).done).toEqual(['start 4']);
    expect(await look(upgrade({}, ended, requests), CLOSED)).toMatchObject({
      done: [],
      written: [{ retryNode: { gone: true } }],
    });
  });
});

describe('a rollout that is cancelled', () => {
  const edited = { manager: 'argocd-controller', time: '2026-03-01T10:00:00Z', fieldsV1: { 'f:spec': {} } };

  it('by an edit is told so, and who edited', async () => {
    const now = upgrade({});
    const { whys } = await look({ ...now, metadata: { ...now.metadata, managedFields: [edited] } as never }, EDITED);
    expect(whys).toEqual([{ by: 'kubectl', reason: 'its NodeOpUpgrade was edited', who: 'argocd-controller' }]);
  });

  it('by a deletion is told so', async () => {
    const now = upgrade({});
    const metadata = { ...now.metadata, deletionTimestamp: '2026-03-01T10:00:00Z', managedFields: [edited] } as never;
    expect((await look({ ...now, metadata }, OPEN)).whys).toEqual([
      { by: 'kubectl', reason: 'its NodeOpUpgrade was deleted' },
    ]);
  });
});

describe('a rollout that was lost with the database of Temporal', () => {
  const at = '2026-03-01T10:00:00Z';
  const by = { by: 'temporal' as const, who: 'ana', reason: 'green', at };
  const said: Partial<RolloutStatus> = {
    approvals: [{ wave: 'rest', ...by }],
    skipped: [{ name: 'w-1', by: 'kubectl', at }],
    leavingOut: [{ name: 'w-2', ...by }],
    requests: [{ what: 'approve rest', ...by, accepted: true, message: 'it is' }],
    paused: { by: 'temporal', who: 'ana', reason: 'lunch', since: at },
  };
  const known = {
    approvals: said.approvals,
    requests: said.requests,
    skips: { 'w-1': { by: 'kubectl', at }, 'w-2': by },
  };

  it('is started again with what was approved, who was left out, and that it was paused', async () => {
    const { done, control } = await look(upgrade({}, said), NOT_FOUND);
    expect(done).toEqual(['start 3']);
    expect(control).toMatchObject({ ...known, skipped: [], paused: said.paused });
  });

  it('is paused as its annotation says, where there is one', async () => {
    const { control } = await look(upgrade({ 'kairos.io/pause': 'coffee' }, said), NOT_FOUND);
    expect(control).toMatchObject(known);
    expect(control).not.toHaveProperty('paused');
  });

  it('hands nothing of that to the next attempt', async () => {
    const edited = upgrade({}, { ...said, generation: 1, phase: 'Failed' });
    expect(await look(edited, CLOSED_BEFORE)).toMatchObject({ done: ['start 4'], control: undefined });
  });
});
