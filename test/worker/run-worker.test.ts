import { describe, expect, it } from '@jest/globals';
import { pino } from 'pino';
import { Readiness } from '../../process/readiness.ts';
import { keepRunning } from '../../worker/run-worker.ts';

function rig(
  runs: (() => Promise<void>)[],
  creations: (() => void)[] = [],
  broken = () => new Promise<void>(() => undefined),
) {
  const lines: { msg: string; reason?: string }[] = [];
  const stopping = new AbortController();
  const readiness = new Readiness();
  const log = pino({ base: null }, { write: (text: string) => void lines.push(JSON.parse(text) as { msg: string }) });
  let created = 0;
  let shutdowns = 0;
  const create = async () => {
    creations.shift()?.();
    const run = runs[created++];
    if (run === undefined) throw new Error('nobody asked for another worker');
    return { run, shutdown: () => void shutdowns++, getState: () => 'RUNNING' as const };
  };
  const done = keepRunning(create, broken, { log, readiness, signal: stopping.signal });
  return {
    done,
    lines,
    readiness,
    stop: () => stopping.abort(new Error('stopped')),
    counts: () => ({ created, shutdowns }),
  };
}

const DUMP = 'Namespace fleet was not found: Status { code: NotFound, details: b"\\x08" }';

describe('the Temporal worker', () => {
  it('that fails is followed by another one, and the process is not ready in between', async () => {
    const { promise: running, resolve: end } = Promise.withResolvers<void>();
    const failing = () => Promise.reject(new Error(DUMP));
    const { done, lines, readiness, stop, counts } = rig([failing, () => running]);
    while (counts().created < 1 || readiness.ready) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(readiness.text()).toContain('Namespace fleet was not found\n');
    while (counts().created < 2 || !readiness.ready) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(lines).toContainEqual(
      expect.objectContaining({
        msg: 'the Temporal worker failed: another one is started',
        reason: 'Namespace fleet was not found',
      }),
    );
    stop();
    end();
    await done;
  });

  it('that Temporal does not let start is tried again', async () => {
    const refuse = () => {
      throw new Error(DUMP);
    };
    const { promise: running, resolve: end } = Promise.withResolvers<void>();
    const { done, lines, counts, stop } = rig([() => running], [refuse, refuse]);
    while (counts().created < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    stop();
    end();
    await done;
    expect(counts().created).toBe(1);
    expect(lines[0]).toMatchObject({ missing: 'Temporal worker', reason: 'Namespace fleet was not found' });
  });

  it('that lost its connection for a moment is followed by one that remembers nothing', async () => {
    const first = Promise.withResolvers<void>();
    const second = Promise.withResolvers<void>();
    const breaks = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const connections = breaks.map(({ promise }) => promise);
    const { done, lines, counts, stop } = rig(
      [() => first.promise, () => second.promise],
      [],
      () => connections.shift() ?? Promise.resolve(),
    );
    while (counts().created < 1) await new Promise((resolve) => setTimeout(resolve, 1));
    breaks[0]?.resolve();
    while (counts().shutdowns < 1) await new Promise((resolve) => setTimeout(resolve, 1));
    first.resolve();
    while (counts().created < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(lines.map(({ msg }) => msg)).toEqual([expect.stringContaining('the connection to Temporal broke')]);
    stop();
    second.resolve();
    await done;
    expect(counts()).toEqual({ created: 2, shutdowns: 2 });
  });

  it('is shut down when the process is told to stop, and its end is no failure', async () => {
    const { promise: running, resolve: end } = Promise.withResolvers<void>();
    const { done, stop, counts, lines } = rig([() => running]);
    while (counts().created < 1) await new Promise((resolve) => setTimeout(resolve, 1));
    await new Promise((resolve) => setImmediate(resolve));
    stop();
    expect(counts().shutdowns).toBe(1);
    end();
    await done;
    expect(lines).toEqual([]);
  });
});
