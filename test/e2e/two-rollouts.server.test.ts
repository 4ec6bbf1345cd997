import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { forbidReadiness } from './forbidden-readiness.ts';
import { NEW, NEWER, OLD, startStage, versionIn, type Stage } from './stage.ts';

const WORKERS = ['worker-1', 'worker-2', 'worker-3'];

let stage: Stage;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 3, workerNodes: 3 });
  await forbidReadiness(stage);
}, 120_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const votes = (node: string, status: 'True' | 'False') => {
  const condition = { type: 'EtcdIsVoter', status, lastTransitionTime: '2026-03-01T10:00:00Z' };
  const patch = JSON.stringify({ status: { conditions: [condition] } });
  return stage.kubectl('patch', 'node', node, '--subresource=status', '-p', patch);
};

const runs = (node: string) => stage.kairosNode(node).status.lastAttempt?.version;

describe('two rollouts at once', () => {
  it('keep the quorum, take out one control-plane node between them, and leave what both want to the newer one', async () => {
    await votes('cp-2', 'False');
    await stage.upgrade('older', NEW, ['cp-1', 'cp-2', 'cp-3', 'worker-1', 'worker-2'], {
      strategy: { maxUnavailable: 2, gateTimeout: '5m' },
    });
    const waiting = await stage.until(
      'cp-1 waits at the gate Quorum',
      () => stage.kairosNode('cp-1').status.message ?? '',
      (message) => message.startsWith('waiting at the gate Quorum'),
    );
    expect(waiting).toContain('of its 3 members (cp-1, cp-2, cp-3) 1 would be left, and 2 are needed');
    expect(waiting).toContain('cp-2 does not vote (EtcdIsVoter)');
    expect(stage.touched).toEqual([]);

    await stage.upgrade('newer', NEWER, ['cp-3', 'worker-2', 'worker-3'], { strategy: { gateTimeout: '5m' } });
    await stage.until(
      'the newer one runs, too',
      () => stage.status('newer')?.rollout?.phase,
      (phase) => phase === 'Running',
    );
    await votes('cp-2', 'True');
    const afterBarrier = await stage.until(
      'the barrier is passed',
      () => stage.status('older')?.rollout?.message ?? '',
      (message) => message.startsWith('wave workers: '),
      90_000,
    );
    expect(afterBarrier).toMatch(
      /; ServiceAccount kairos-system\/kairos-worker may not get \/readyz, so whether the API server is ready is told by a read/,
    );
    const [older, newer] = [await stage.ended('older'), await stage.ended('newer')];
    expect(older).toMatchObject({
      phase: 'Completed',
      nodes: { summary: '3/3' },
      rollout: {
        verdicts: { Succeeded: 3, Superseded: 2 },
        failed: [],
        superseded: [
          { name: 'cp-3', by: 'kairos-system/newer' },
          { name: 'worker-2', by: 'kairos-system/newer' },
        ],
      },
    });
    expect(older.message).toContain(
      'left to a NodeOpUpgrade that was created later: cp-3 (to kairos-system/newer), worker-2 (to kairos-system/newer)',
    );
    expect(newer).toMatchObject({ phase: 'Completed', nodes: { summary: '3/3' } });
    const shared = new Set(['cp-3', 'worker-2', 'worker-3']);
    for (const { name } of stage.observer.nodes.values())
      expect([name, runs(name)]).toEqual([name, versionIn(shared.has(name) ? NEWER : NEW)]);
    for (const node of ['cp-3', 'worker-2']) expect(stage.recording(node).boots.length).toBe(2);

    const most = (which: (node: { controlPlane: boolean }) => boolean) =>
      Math.max(...stage.outages.map((out) => out.filter(which).length));
    expect(most(({ controlPlane }) => controlPlane)).toBe(1);
    expect(most(({ controlPlane }) => !controlPlane)).toBeLessThanOrEqual(2);
    await stage.cleanedUp();
  }, 240_000);

  it('of one image are one: the second waits for the node that the first has in hand, and finds it done', async () => {
    const letGo = await stage.holdDrain('worker-1');
    await stage.upgrade('first', NEWER, ['worker-1']);
    await stage.until(
      'worker-1 is drained',
      () => stage.kairosNode('worker-1').status,
      ({ step }) => step === 'Drain',
    );
    await stage.upgrade('second', NEWER, ['worker-1']);
    const hand = `${stage.rolloutID('first')} has it in hand`;
    const waits = await stage.until(
      'the second one waits, and says for whom',
      // Its wave may not have begun yet.
      () =>
        stage.temporalCLI('workflow', 'describe', '--workflow-id', waveOf('second'), '--output', 'json').catch(String),
      (text) => text.includes(hand) || text.includes(Buffer.from(hand).toString('base64').slice(4, -4)),
    );
    expect(waits).toContain('waitForPlace');

    // Of a third one, which has no node in common with them, they take the budget, for longer than it may wait.
    await stage.upgrade('crowded', OLD, ['worker-2'], { strategy: { gateTimeout: '4s', maxFailed: 3 } });
    const crowded = await stage.ended('crowded');
    expect(crowded).toMatchObject({ phase: 'Failed', rollout: { verdicts: { Skipped: 1 } } });
    expect(crowded.message).toMatch(
      /^stopped: BudgetTaken: in 4s no node could be started: out are worker-1, which this rollout has not in hand: kubectl get nodes/,
    );
    await letGo();
    expect(await stage.ended('first')).toMatchObject({ phase: 'Completed', rollout: { verdicts: { Succeeded: 1 } } });
    expect(await stage.ended('second')).toMatchObject({
      phase: 'Completed',
      rollout: { verdicts: { AlreadyOnTarget: 1 } },
    });
    await stage.cleanedUp();
  }, 120_000);
});

const waveOf = (name: string) => `wave/${stage.rolloutID(name).slice('rollout/'.length)}/1/workers`;

describe('a node that carries what the rollout runs on', () => {
  it('is upgraded when the others of its wave are done, and alone', async () => {
    const labels = { app: 'database', 'kairos.io/host-last': 'true' };
    const template = {
      metadata: { labels },
      spec: {
        nodeSelector: { 'kubernetes.io/hostname': 'worker-1' },
        containers: [{ name: 'database', image: 'example.com/database:1' }],
      },
    };
    const deployments = '/apis/apps/v1/namespaces/default/deployments';
    await stage.client.request({
      verb: 'create',
      path: deployments,
      body: { metadata: { name: 'database' }, spec: { replicas: 1, selector: { matchLabels: labels }, template } },
    });
    const ready = () =>
      stage.client.request<{ status?: { readyReplicas?: number } }>({ verb: 'get', path: `${deployments}/database` });
    await stage.until('the database runs', ready, ({ status }) => status?.readyReplicas === 1);
    stage.forgetTouched();
    const before = stage.outages.length;
    await stage.upgrade('hosts', OLD, WORKERS, { strategy: { maxUnavailable: 3 } });
    expect(await stage.ended('hosts')).toMatchObject({ phase: 'Completed', nodes: { summary: '3/3' } });
    expect(stage.touched.at(-1)).toBe('worker-1');
    expect(stage.touched.toSorted()).toEqual(WORKERS);
    const beside = stage.outages.slice(before).filter((out) => out.some(({ name }) => name === 'worker-1'));
    expect(Math.max(...beside.map((out) => out.length))).toBe(1);
    await stage.client.request({ verb: 'delete', path: `${deployments}/database` });
    await stage.cleanedUp();
  }, 120_000);
});

describe('a node that joins after the rollout', () => {
  it('is upgraded by the next attempt, which touches no other', async () => {
    await stage.kubectl('label', 'node', 'worker-3', 'pool=late');
    const spec = { nodeSelector: { matchLabels: { pool: 'late' } }, strategy: { newNodes: 'Upgrade' } } as const;
    await stage.upgrade('pool', NEW, undefined, spec);
    expect(await stage.ended('pool')).toMatchObject({ phase: 'Completed', rollout: { attempt: 1, total: 1 } });
    const boots = stage.recording('worker-3').boots.length;
    const name = await stage.cluster.addNode();
    await stage.kubectl('label', 'node', name, 'pool=late');
    const later = await stage.until(
      'the next attempt has ended',
      () => stage.status('pool')?.rollout,
      (rollout) => rollout?.attempt === 2 && rollout.phase === 'Completed',
      60_000,
    );
    expect(later).toMatchObject({ total: 1, verdicts: { Succeeded: 1 } });
    expect(runs(name)).toBe(versionIn(NEW));
    expect(stage.recording('worker-3').boots.length).toBe(boots);
  }, 120_000);
});
