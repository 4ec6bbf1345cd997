import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waveWorkflowID } from '../../api/messages.ts';
import type { RolloutPhase } from '../../api/types.ts';
import { NEW, startStage, type Stage } from './stage.ts';

const NAME = 'steered';
/** The image is pulled on one node after the other, so they go by their names. */
const MANIFEST = `
apiVersion: operator.kairos.io/v1alpha1
kind: NodeOpUpgrade
metadata:
  name: ${NAME}
  namespace: kairos-system
  annotations: { kairos.io/pause: not before ten }
spec:
  image: ${NEW}
  nodeSelector:
    matchExpressions: [{ key: kubernetes.io/hostname, operator: In, values: [worker-1, worker-2] }]
  strategy: { waves: [{ name: workers }], soak: 1s, reboot: { timeout: 1m }, gateTimeout: 1m, prePull: { ahead: 1 } }
`;

let stage: Stage;
let letGo: () => Promise<void>;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 4 });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const rollout = () => stage.status(NAME)?.rollout;
const untilPhase = (phase: RolloutPhase) => stage.until(phase, rollout, (now) => now?.phase === phase);
const annotate = (...what: string[]) =>
  stage.kubectl('annotate', '-n', 'kairos-system', 'nodeopupgrade', NAME, '--overwrite', ...what);
const stepPods = () => stage.kubectl('get', 'pods,jobs', '-A', '-l', 'kairos.io/upgrade-step', '-o', 'name');

const waveID = (name: string) => {
  const { generation = 1, attempt = 1 } = stage.status(name)?.rollout ?? {};
  const request = { kind: 'NodeOpUpgrade', namespace: 'kairos-system', name, uid: '', generation, attempt } as const;
  return waveWorkflowID(stage.rolloutID(name), request, 'workers');
};

/** Does something while there is no watcher. */
async function withoutWatcher(what: () => Promise<unknown>): Promise<void> {
  await stage.product.watcher.kill('SIGKILL');
  await what();
  await stage.product.watcher.start();
}

const inService = (name: string) => {
  const { ready, unschedulable, owner } = stage.node(name);
  return ready && !unschedulable && owner === undefined;
};

describe('the annotation kairos.io/pause', () => {
  it('that is there from the beginning starts no node and no pull', async () => {
    const file = path.join(stage.folder, 'steered.yaml');
    writeFileSync(file, MANIFEST);
    await stage.kubectl('apply', '-f', file);
    await untilPhase('Paused');
    expect(rollout()?.paused).toEqual({
      by: 'kubectl',
      who: 'kubectl-client-side-apply',
      reason: 'not before ten',
      since: expect.any(String),
    });
    const wave = stage.temporal.workflow.getHandle(waveID(NAME));
    await stage.until(
      'its wave runs',
      () =>
        wave.describe().then(
          ({ historyLength }) => historyLength,
          () => 0,
        ),
      (length) => length >= 4,
    );
  });

  it('outlives the watcher that has read it', async () => {
    await withoutWatcher(() => Promise.resolve());
    await annotate('kairos.io/pause=not before noon');
    await stage.until('the watcher has looked again', rollout, (now) => now?.paused?.reason === 'not before noon');
    expect(rollout()?.phase).toBe('Paused');
    expect(stage.touched).toEqual([]);
    expect(await stepPods()).toBe('');
  });

  it('is taken away while there is no watcher: the next one resumes', async () => {
    letGo = await stage.holdDrain('worker-1');
    await withoutWatcher(() => annotate('kairos.io/pause-'));
    await untilPhase('Running');
    const message = () => stage.kairosNode('worker-1').status.message;
    await stage.until('its drain is held', message, (text) => text?.includes('held-on-worker-1') === true);
  });

  it('is set while there is no watcher: the next one pauses, and the node in hand is finished', async () => {
    await withoutWatcher(() => annotate('kairos.io/pause=lunch'));
    await untilPhase('Paused');
    await letGo();
    const last = () => stage.kairosNode('worker-1').status.lastAttempt?.verdict;
    await stage.until('its verdict', last, (verdict) => verdict === 'Succeeded');
    await stage.until('its return', () => inService('worker-1'), Boolean);
  }, 60_000);
});

describe('the annotation kairos.io/retry', () => {
  it('on a rollout that has not ended asks for nothing before its end, and for one attempt then', async () => {
    await annotate('kairos.io/retry=one', 'kairos.io/pause=coffee');
    await stage.until('the watcher has looked', rollout, (now) => now?.paused?.reason === 'coffee');
    expect(rollout()).toMatchObject({ phase: 'Paused', attempt: 1 });
    expect(stage.touched).toEqual(['worker-1']);
    expect(stage.recording('worker-2').upgradeRuns).toEqual([]);
    await annotate('kairos.io/pause-');
    const isSecond = (now: ReturnType<typeof rollout>) => now?.attempt === 2 && now.phase === 'Completed';
    expect(await stage.until('the second attempt', rollout, isSecond, 60_000)).toMatchObject({
      verdicts: { AlreadyOnTarget: 2 },
      retry: 'one',
    });
    expect(stage.touched).toEqual(['worker-1', 'worker-2']);
    for (const node of ['worker-1', 'worker-2']) expect(stage.recording(node).upgradeRuns).toHaveLength(1);
  }, 80_000);

  it('asks nothing twice with the same value', async () => {
    await annotate('kairos.io/retry-');
    await annotate('kairos.io/retry=one');
    await annotate('kairos.io/retry=two');
    const isNext = (now: ReturnType<typeof rollout>) => (now?.attempt ?? 0) > 2 && now?.phase === 'Completed';
    expect(await stage.until('the next attempt', rollout, isNext)).toMatchObject({ attempt: 3, retry: 'two' });
    // Whoever had answered the old value again would have come before.
    const log = readFileSync(path.join(stage.folder, 'logs', 'watcher.log'), 'utf8');
    expect(log.match(/starting rollout/g)).toHaveLength(3);
  });

  it('has nothing to pause once it has ended', async () => {
    const update = ['workflow', 'update', 'execute', '--workflow-id', stage.rolloutID(NAME), '--name', 'pause'];
    await expect(stage.temporalCLI(...update, '--input', '{}')).rejects.toThrow('already completed');
    await annotate('kairos.io/pause=too late');
    await annotate('kairos.io/retry=three');
    await untilPhase('Paused');
    expect(rollout()).toMatchObject({ attempt: 4, paused: { by: 'kubectl', reason: 'too late' } });
    await stage.deleteUpgrade(NAME);
  });
});

/** What the activities say that a wave waits for, with the number of their attempts. */
async function waitsOf(name: string): Promise<{ says: string; attempt: number }[]> {
  const { raw } = await stage.temporal.workflow.getHandle(waveID(name)).describe();
  return (raw.pendingActivities ?? []).map(({ heartbeatDetails, attempt }) => ({
    says: Buffer.from(heartbeatDetails?.payloads?.[0]?.data ?? []).toString(),
    attempt: attempt ?? 0,
  }));
}

const untilWaiting = (name: string, words: string) =>
  stage.until(
    `the wave of ${name} waits: ${words}`,
    () => waitsOf(name).catch(() => []),
    (waits) => waits.some(({ says }) => says.includes(words)),
  );

const steer = (name: string, what: 'pause' | 'resume') =>
  stage.temporalCLI(
    'workflow',
    'update',
    'execute',
    '--workflow-id',
    stage.rolloutID(name),
    '--name',
    what,
    '--input',
    '{}',
  );

describe('a node that cannot be taken in hand', () => {
  let gate: Promise<unknown>;
  const HERS = { strategy: { maxUnavailable: 3, gateTimeout: '8s' } };

  /** It waits at its gate for longer than it may, but half of that time it is paused. */
  async function pausedAtItsGate(): Promise<void> {
    await stage.kubectl('cordon', 'worker-4');
    await stage.upgrade('gated', NEW, ['worker-4'], HERS);
    await untilWaiting('gated', 'node worker-4 is cordoned by somebody else since');
    await steer('gated', 'pause');
    await sleep(9_000);
    expect(stage.status('gated')?.rollout).toMatchObject({ phase: 'Paused', verdicts: {} });
    await steer('gated', 'resume');
    await untilWaiting('gated', 'cordoned by somebody else');
    await stage.kubectl('uncordon', 'worker-4');
  }

  beforeAll(() => {
    gate = pausedAtItsGate();
    gate.catch(() => undefined);
  });

  it('as another rollout has it waits for that one, by name and without turning in circles', async () => {
    const release = await stage.holdDrain('worker-3');
    const BOTH = { strategy: { maxUnavailable: 3 } };
    await stage.upgrade('first', NEW, ['worker-3'], BOTH);
    const message = () => stage.kairosNode('worker-3').status.message;
    await stage.until('its drain is held', message, (text) => text?.includes('held-on-worker-3') === true);
    await stage.upgrade('second', NEW, ['worker-3'], BOTH);
    await untilWaiting('second', `node worker-3 is out already: ${stage.rolloutID('first')} has it in hand`);

    const wave = stage.temporal.workflow.getHandle(waveID('second'));
    const before = (await wave.describe()).historyLength;
    await sleep(3_000);
    expect(await waitsOf('second')).toEqual([{ says: expect.any(String), attempt: 1 }]);
    expect((await wave.describe()).historyLength).toBe(before);
    await release();

    expect((await stage.ended('first')).rollout).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 1 } });
    expect((await stage.ended('second')).rollout).toMatchObject({
      phase: 'Completed',
      verdicts: { AlreadyOnTarget: 1 },
    });
    expect(stage.recording('worker-3').upgradeRuns).toHaveLength(1);
    const { events = [] } = await wave.fetchHistory();
    const refused = (events ?? []).filter((event) => event.startChildWorkflowExecutionFailedEventAttributes);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(5);
    expect(events?.length).toBeLessThan(80);
  }, 80_000);

  it('while the rollout is paused may wait for longer than its gate is open', async () => {
    await gate;
    expect((await stage.ended('gated')).rollout).toMatchObject({ phase: 'Completed', verdicts: { Succeeded: 1 } });
    await stage.cleanedUp();
  }, 60_000);
});
