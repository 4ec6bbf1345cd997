import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import type { AgentOptions } from '../../agent/agent.ts';
import { refuse, type SeenRequest } from './fake-api-server.ts';
import { AgentRig, FIRST_BOOT, SECOND_BOOT } from './rig.ts';
import { VirtualTime } from './virtual-time.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** A check is due every 30 s, give or take ten per cent, and happens at the next look, every 10 s. */
const NEXT_CHECK = 45 * SECOND;

describe('an agent and time', () => {
  let rig: AgentRig;
  let time: VirtualTime;
  beforeEach(async () => {
    rig = await new AgentRig().open();
    time = new VirtualTime();
  });
  afterEach(() => rig.close());

  /** Starts that many, with the settings of a cluster; resolves when all have reported and sleep. */
  async function startFleet(count: number, changes: Partial<AgentOptions> = {}): Promise<void> {
    for (let n = 0; n < count; n += 1) rig.start({ nodeName: `node-${n}`, pollIntervalMs: 10_000, time, ...changes });
    await time.asleep(count);
    expect([...rig.api.nodes.values()].map((status) => status['bootID'])).toEqual(Array(count).fill(FIRST_BOOT));
  }

  const writes = (since: number) => rig.api.requests.slice(since).filter(({ method }) => method !== 'GET');
  const waits = () => rig.warnings.map((warning) => Number(warning['retryInMs']));

  describe('that has nothing to say', () => {
    it('looks once in half a minute whether its report is there, and repeats it every hour', async () => {
      await startFleet(1);
      const before = rig.api.requests.length;
      await time.runUntil(50 * MINUTE);
      const checks = rig.api.requests.slice(before);
      expect(new Set(checks.map(({ method, url }) => `${method} ${url}`))).toEqual(
        new Set(['GET /apis/kairos.io/v1alpha1/kairosnodes/node-0?resourceVersion=0']),
      );
      expect(checks.length).toBeGreaterThan(60);
      expect(checks.length).toBeLessThan(112);
      await time.runUntil(67 * MINUTE);
      expect(writes(before)).toHaveLength(1);
    });

    it.each<[string, (rig: AgentRig) => void]>([
      ['was deleted', ({ api }) => api.nodes.clear()],
      ['was deleted and made again by somebody else', ({ api }) => api.nodes.set('node-0', {})],
      [
        'came back from a backup',
        ({ api }) => api.nodes.set('node-0', { bootID: 'long-ago', reportedAt: '2020-01-01T00:00:00.000Z' }),
      ],
      ['lost its report', ({ api }) => api.nodes.set('node-0', { upgradeState: 'Idle' })],
    ])('reports as soon as it sees that its KairosNode %s', async (_, change) => {
      await startFleet(1);
      await time.runUntil(5 * MINUTE);
      change(rig);
      const before = rig.api.requests.length;
      await time.runUntil(5 * MINUTE + NEXT_CHECK);
      expect(rig.status('node-0')).toMatchObject({ bootID: FIRST_BOOT });
      expect(rig.infos).toContain('the report is gone from the KairosNode: reporting again');
      const reports = writes(before).length;
      await time.runUntil(30 * MINUTE);
      expect(writes(before)).toHaveLength(reports);
    });

    it.each<[string, (request: SeenRequest, response: ServerResponse) => void]>([
      ['is forbidden', (_, response) => refuse(response, 403, 'Forbidden')],
      ['fails', (_, response) => refuse(response, 500, 'InternalError')],
      ['is cut off', (_, response) => response.socket?.destroy()],
      ['brings something else', (_, response) => response.writeHead(200).end('<html>')],
    ])('neither reports nor calls itself unready because its look %s, and says it once', async (_, fault) => {
      await startFleet(1);
      const before = rig.api.requests.length;
      rig.api.fault = fault;
      await time.runUntil(20 * MINUTE);
      expect(rig.api.requests.length - before).toBeLessThan(50);
      expect(writes(before)).toEqual([]);
      expect(rig.states).not.toContain('retrying');
      expect(rig.warnings.map(({ message }) => message)).toEqual(['cannot see whether the report is still there']);
      rig.api.fault = undefined;
      rig.api.nodes.clear();
      await time.runUntil(20 * MINUTE + NEXT_CHECK);
      expect(rig.status('node-0')).toMatchObject({ bootID: FIRST_BOOT });
    });
  });

  describe.each<[string, (rig: AgentRig) => Promise<void> | void, (rig: AgentRig) => Promise<unknown> | void]>([
    ['refuses connections', ({ api }) => api.stop(), ({ api }) => api.start()],
    [
      'answers with 500',
      ({ api }) => void (api.fault = (_, response) => refuse(response, 500, 'InternalError')),
      ({ api }) => void (api.fault = undefined),
    ],
    ['hangs', ({ api }) => void (api.fault = () => {}), ({ api }) => void (api.fault = undefined)],
  ])('that has something to say while the API server %s', (_, fail, mend) => {
    it('tries again ever more rarely, says so a few times, and reports once when it is back', async () => {
      await startFleet(1, { apiServer: { ...rig.api.settings, deadlineMs: 20 } });
      await fail(rig);
      rig.machine.write(SECOND_BOOT);
      const before = rig.api.requests.length;
      await time.runUntil(20 * MINUTE);
      expect(rig.states.at(-1)).toBe('retrying');
      // the first attempt and every twentieth
      expect(waits().length).toBeLessThan(6);
      const attempts = Number(rig.warnings.at(-1)?.['attempt']);
      expect(attempts).toBeGreaterThanOrEqual(41);
      expect(attempts).toBeLessThanOrEqual(81);
      expect(waits()[0]).toBeLessThanOrEqual(500);
      expect(Math.min(...waits().slice(1))).toBeGreaterThanOrEqual(15_000);
      expect(Math.max(...waits())).toBeLessThanOrEqual(30_000);
      expect(rig.api.requests.length - before).toBeLessThanOrEqual(90);
      await mend(rig);
      const back = rig.api.requests.length;
      await time.runUntil(21 * MINUTE);
      expect(rig.status('node-0')).toMatchObject({ bootID: 'second-boot' });
      expect(writes(back)).toHaveLength(1);
      expect(rig.states.at(-1)).toBe('reported');
    });
  });

  it('is one of many: after an outage they come back one by one, each with one report', async () => {
    const fleet = 24;
    await startFleet(fleet, { pollIntervalMs: MINUTE });
    await time.runUntil(MINUTE);
    await rig.api.stop();
    rig.machine.write(SECOND_BOOT);
    await time.runUntil(6 * MINUTE);
    await rig.api.start();
    const back = rig.api.requests.length;
    const bySecond: number[] = [];
    for (let second = 1; second <= 31; second += 1) {
      const seen = writes(back).length;
      await time.runUntil(6 * MINUTE + second * SECOND);
      bySecond.push(writes(back).length - seen);
    }
    const names = writes(back).map(({ body }) => String(body.metadata['name']));
    expect(names).toHaveLength(fleet);
    expect(new Set(names).size).toBe(fleet);
    // spread over half a minute that is one or two a second
    expect(Math.max(...bySecond)).toBeLessThan(fleet / 2);
  }, 30_000);

  it('is one of many whom a busy server asks to wait: they do not come back in the same moment', async () => {
    const fleet = 40;
    await startFleet(fleet);
    rig.api.fault = (_, response) => refuse(response, 429, 'TooManyRequests', { 'retry-after': '20' });
    rig.machine.write(SECOND_BOOT);
    await time.runUntil(MINUTE);
    const asked = rig.warnings.map(({ retryInMs }) => Number(retryInMs));
    expect(asked).toHaveLength(fleet);
    expect(Math.min(...asked)).toBeGreaterThanOrEqual(20_000);
    expect(Math.max(...asked)).toBeLessThanOrEqual(30_000);
    expect(new Set(asked.map((ms) => Math.floor(ms / SECOND))).size).toBeGreaterThan(4);
  });
});
