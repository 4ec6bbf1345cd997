import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { KairosNodeStatus, NodeOpUpgrade } from '../../api/types.ts';
import type { WatcherContext } from '../../watcher/context.ts';
import { writeStatus } from '../../watcher/status-writer.ts';
import { merge } from './merge-patch.ts';

const SECOND = 1000;
const ROLLOUT = 'rollout/kairos-c0ffee00/fleet/v4';

/** One NodeOpUpgrade with one node in hand; what is written to its status is delivered at once. */
class World {
  writes = 0;
  node: KairosNodeStatus = { rollout: ROLLOUT, upgradeState: 'InProgress', step: 'Cordon', message: 'cordoning' };
  #upgrade = {
    metadata: { namespace: 'fleet', name: 'v4', uid: 'u', generation: 1 },
    spec: { image: 'i' },
    status: { rollout: { generation: 1, attempt: 1, phase: 'Running', total: 2 } },
  } as unknown as NodeOpUpgrade;
  readonly context = {
    cluster: { uid: 'c0ffee00', id: 'kairos-c0ffee00' },
    upgrades: { get: () => this.#upgrade },
    kairosNodes: { get: () => undefined, values: () => [{ name: 'n-1', uid: 'k', status: this.node }] },
    nodes: new Map(),
    engine: { health: () => ({ reachable: true, message: 'Temporal answers', since: '2026-03-01T10:00:00Z' }) },
    client: {
      request: ({ body }: { body: { status: object } }) => {
        this.writes += 1;
        this.#upgrade = merge(this.#upgrade, body) as NodeOpUpgrade;
        return Promise.resolve({ metadata: {} });
      },
    },
  } as unknown as WatcherContext;

  get status() {
    return this.#upgrade.status;
  }

  /** As the watcher does, once a second. */
  async looks(times: number): Promise<void> {
    for (; times > 0; times -= 1) {
      await writeStatus(this.context, 'fleet/v4');
      await jest.advanceTimersByTimeAsync(SECOND);
    }
  }
}

let world: World;
beforeEach(() => {
  jest.useFakeTimers();
  world = new World();
});
afterEach(() => {
  jest.useRealTimers();
});

describe('the status of a NodeOpUpgrade', () => {
  it('is written when it changed only', async () => {
    await world.looks(20);
    expect(world.writes).toBe(1);
    expect(world.status?.inFlight).toMatchObject([{ name: 'n-1', step: 'Cordon' }]);
  });

  it('tells of the steps of its nodes once in five seconds, and of the last one', async () => {
    await world.looks(1);
    for (const step of ['Drain', 'Upgrade', 'Reboot'] as const) {
      world.node = { ...world.node, step };
      await world.looks(1);
    }
    expect(world.writes).toBe(1);
    await world.looks(3);
    expect(world.writes).toBe(2);
    expect(world.status?.inFlight).toMatchObject([{ name: 'n-1', step: 'Reboot' }]);
  });

  it('tells at the next look how many nodes are in flight, and what they do then', async () => {
    await world.looks(1);
    world.node = { rollout: ROLLOUT, upgradeState: 'Completed' };
    await world.looks(1);
    expect(world.writes).toBe(2);
    expect(world.status).toMatchObject({ nodes: { inFlight: 0 }, inFlight: [] });
  });
});
