import path from 'node:path';
import { Context } from '@temporalio/activity';
import { WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { DefaultLogger, bundleWorkflowCode } from '@temporalio/worker';
import { World } from './world.ts';

// A machine that builds something at the same time takes its while.
jest.setTimeout(60_000);

const MINUTE_MS = 60_000;
let code: string;

beforeAll(async () => {
  const workflowsPath = path.join(import.meta.dirname, 'fixtures.ts');
  ({ code } = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') }));
});

type Activity = (input: unknown) => Promise<unknown>;
const world = (work: Activity = async () => 'done', wait: Activity = work) =>
  new World(code, { activities: { work, wait } });

describe('time', () => {
  it('passes for a workflow as it is told to, and its random numbers are the same in every run', async () => {
    const results = [];
    for (const driven of [world(), world()]) {
      const flow = driven.start('clocks', 'one');
      await driven.advance('2 days');
      expect(flow.status).toBe('Running');
      results.push(await flow.result());
    }
    expect(results[0]).toMatchObject({ slept: 3 * 24 * 60 * MINUTE_MS, inTime: false, waited: 60 * MINUTE_MS });
    expect(results[1]).toEqual(results[0]);
  });
});

describe('an activity', () => {
  it.each([
    { kind: 'remote', failures: 3, tookMs: 1_000 + 2_000 + 4_000 },
    // Longer than a minute: the workflow itself waits by a timer.
    { kind: 'local', failures: 2, tookMs: 50_000 + 100_000 },
  ])('that fails ($kind) is tried again by its policy', async ({ kind, failures, tookMs }) => {
    let tried = 0;
    const driven = world(async () => {
      tried += 1;
      if (tried <= failures) throw new Error('not yet');
      return 'done';
    });
    expect(await driven.start('retries', 'one', kind).result()).toEqual({ answer: 'done', tookMs });
  });

  it.each([
    { why: 'no repetition mends', error: () => ApplicationFailure.nonRetryable('no', 'Any'), tried: 1 },
    { why: 'its policy calls final', error: () => ApplicationFailure.retryable('no', 'Final'), tried: 1 },
    { why: 'comes with every attempt', error: () => new Error('no'), tried: 5 },
  ])('fails with an error that $why', async ({ error, tried }) => {
    const driven = world(() => Promise.reject(error()));
    const failure = await driven
      .start('retries', 'one', 'remote')
      .result()
      .catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(WorkflowFailedError);
    expect((failure as WorkflowFailedError).cause).toMatchObject({ cause: { message: 'no' } });
    expect(driven.engine.attempts).toHaveLength(tried);
  });

  it('whose attempt takes too long is tried again while the first one may still run', async () => {
    let tried = 0;
    const driven = world(async () => {
      tried += 1;
      if (tried === 1) await new Promise(() => undefined);
      return 'done';
    });
    expect(await driven.start('retries', 'one', 'remote').result()).toEqual({
      answer: 'done',
      tookMs: MINUTE_MS + 1_000,
    });
  });

  const stubborn: Activity = async () => {
    const context = Context.current();
    await context.sleep('30m').catch(() => undefined);
    return 'stopped';
  };
  const obedient: Activity = () => Context.current().sleep('30m');
  const outcomes: [string, string, Activity, string][] = [
    ['TRY_CANCEL', 'is not waited for', stubborn, 'CancelledFailure'],
    ['ABANDON', 'is not waited for', stubborn, 'CancelledFailure'],
    ['WAIT_CANCELLATION_COMPLETED', 'is asked, and may end as it likes', stubborn, 'stopped'],
    ['WAIT_CANCELLATION_COMPLETED', 'is asked, and may end as cancelled', obedient, 'CancelledFailure'],
  ];
  it.each(outcomes)('that is cancelled with %s %s', async (type, _how, wait, outcome) => {
    const flow = world(undefined, wait).start('cancels', 'one', type);
    expect(await flow.result()).toEqual({ outcome, atMs: MINUTE_MS });
  });
});

describe('messages', () => {
  it('an update is answered, refused by its validator, and seen by a query', async () => {
    const driven = world(async () => {
      await Context.current().sleep('10s');
      return 'done';
    });
    const flow = driven.start('register', 'one');
    expect(await driven.update(flow, 'set', 7)).toBe(0);
    await expect(driven.update(flow, 'set', -1)).rejects.toThrow(WorkflowUpdateFailedError);
    expect(await driven.query(flow, 'value')).toBe(7);
    await expect(driven.query(flow, 'another')).rejects.toThrow('did not register a handler');
    driven.signal(flow, 'end');
    expect(await flow.result()).toBe(7);
    expect(() => driven.signal(flow, 'end')).toThrow('takes no signal: it is Completed');
  });

  it('reach other workflows by their ids, or say that there is none', async () => {
    const driven = world();
    const other = driven.start('register', 'other');
    const [first, second, nobody] = (await driven.start('siblings', 'one').result()) as string[];
    expect(first).toBe('slept');
    expect(second).toBe('WorkflowExecutionAlreadyStartedError');
    expect(nobody).toContain('it was not found');
    expect(other.status).toBe('Completed');
  });
});

describe('the end of a workflow', () => {
  it('may be the start of its next run', async () => {
    const driven = world();
    const runs = (await driven.start('countdown', 'one', 3).result()) as string[];
    expect(new Set(runs).size).toBe(4);
    expect(driven.engine.runs.map(({ status }) => status)).toEqual([
      'ContinuedAsNew',
      'ContinuedAsNew',
      'ContinuedAsNew',
      'Completed',
    ]);
  });

  it.each([
    { policy: 'TERMINATE', status: 'Terminated' },
    { policy: 'ABANDON', status: 'Completed' },
    { policy: 'REQUEST_CANCEL', status: 'Completed' },
  ])('is the end of its children by their policy ($policy)', async ({ policy, status }) => {
    const driven = world();
    await driven.start('parent', 'one', policy).result();
    await driven.advance('5m');
    const child = driven.workflow('child');
    expect(child.status).toBe(policy === 'ABANDON' ? 'Running' : status);
    await driven.advance('2h');
    expect(child.status).toBe(status);
    if (policy === 'REQUEST_CANCEL') expect(await child.result()).toBe('CancelledFailure');
  });

  it('by terminate is heard by nobody but its parent', async () => {
    const driven = world();
    const flow = driven.start('clocks', 'one');
    await driven.settle();
    driven.terminate(flow);
    await expect(flow.result()).rejects.toMatchObject({ cause: { name: 'TerminatedFailure' } });
  });

  it('by a cancel is its own to shape', async () => {
    const driven = world();
    const flow = driven.start('clocks', 'one');
    await driven.settle();
    driven.cancel(flow);
    await expect(flow.result()).rejects.toMatchObject({ cause: expect.any(CancelledFailure) });
  });

  it('that never comes is named with what everything waits for', async () => {
    const driven = world();
    await expect(driven.start('register', 'one').result()).rejects.toThrow('one waits for a message');
  });
});

describe('a workflow that is run again', () => {
  it('takes the same patches', async () => {
    const driven = world();
    expect(await driven.start('patchedFlow', 'one').result()).toBe(true);
    await driven.close();
  });

  it('is refused when it asked something outside of its history', async () => {
    const driven = world();
    await driven.start('wayward', 'one').result();
    await expect(driven.close()).rejects.toThrow('workflow one is not deterministic: activation 1 of 2');
  });
});
