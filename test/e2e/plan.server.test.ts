import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PlanReport } from '../../api/plan-messages.ts';
import type { NodeOpUpgradeStatus, RiskReason } from '../../api/types.ts';
import { RUN_BY, documentedShell, type DocumentedShell } from '../docs/commands.ts';
import { NEW, startStage, versionIn, type Stage } from './stage.ts';

const NAME = 'hadron-v4.0.3';
const OBJECT = ['-n', 'kairos-system', 'nodeopupgrade', NAME];
const CLAIM = 'data';

let stage: Stage;
let shell: DocumentedShell;
let letGo: () => Promise<void>;
let before: string;

/** On worker-1 a pod whose budget never lets it go, on worker-2 one without a controller, on worker-3 one with data. */
beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 3 });
  const container = { name: 'app', image: 'example.com/app:1' };
  const create = (path: string, body: object) => stage.client.request({ verb: 'create', path, body });
  shell = await documentedShell(stage);
  letGo = await stage.holdDrain('worker-1');
  const bare = { metadata: { name: 'bare' }, spec: { nodeName: 'worker-2', containers: [container] } };
  await create('/api/v1/namespaces/default/pods', bare);
  const size = { storage: '1Gi' };
  const claimRef = { namespace: 'default', name: CLAIM };
  await create('/api/v1/persistentvolumes', {
    metadata: { name: 'of-worker-3' },
    spec: {
      capacity: size,
      accessModes: ['ReadWriteOnce'],
      hostPath: { path: '/data' },
      storageClassName: '',
      claimRef,
    },
  });
  await create('/api/v1/namespaces/default/persistentvolumeclaims', {
    metadata: { name: CLAIM },
    spec: { accessModes: ['ReadWriteOnce'], storageClassName: '', resources: { requests: size } },
  });
  const labels = { app: 'database' };
  const volumes = [
    { name: 'scratch', emptyDir: {} },
    { name: 'data', persistentVolumeClaim: { claimName: CLAIM } },
  ];
  const nodeSelector = { 'kubernetes.io/hostname': 'worker-3' };
  const template = { metadata: { labels }, spec: { nodeSelector, containers: [container], volumes } };
  const spec = { replicas: 1, selector: { matchLabels: labels }, template };
  await create('/apis/apps/v1/namespaces/default/deployments', { metadata: { name: 'database' }, spec });
  const running = () => stage.kubectl('get', 'pods', '-n', 'default', '--field-selector', 'status.phase=Running');
  await stage.until('the pods run', running, (list) => /bare/.test(list) && /database/.test(list));
}, 90_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const risksOf = (status: NodeOpUpgradeStatus, reason: RiskReason) =>
  (status.plan?.risks ?? []).filter((risk) => risk.reason === reason);
const edit = (spec: object) => stage.kubectl('patch', ...OBJECT, '--type', 'merge', '-p', JSON.stringify({ spec }));
const podUIDs = () => stage.kubectl('get', 'pods', '-n', 'default', '-o', 'jsonpath={.items[*].metadata.uid}');

describe('a plan', () => {
  it('ends as Planned, and has touched nothing', async () => {
    before = await podUIDs();
    await stage.upgrade(NAME, NEW, undefined, { dryRun: true });
    await stage.kubectl('wait', ...OBJECT, '--for=condition=Ended', '--timeout=60s');
    const status = await stage.ended(NAME);
    expect(status).toMatchObject({ phase: 'Planned', nodes: { total: 4, done: 0, failed: 0 } });
    const said = status.conditions?.map(({ type, status: is, reason }) => `${type} ${is} ${reason}`);
    expect(said).toEqual(
      expect.arrayContaining([
        'Progressing False Planned',
        'Completed False Planned',
        'Ended True Planned',
        'Degraded False NoFailures',
      ]),
    );
    expect(status.message).toContain('Nothing was touched');
    expect(stage.touched).toEqual([]);
    expect(await podUIDs()).toBe(before);
    expect(stage.cluster.recordings().flatMap(({ upgradeRuns }) => upgradeRuns)).toEqual([]);
    await stage.cleanedUp();
  }, 120_000);

  it('says the version, the waves and what it does not know yet', () => {
    const plan = stage.status(NAME)?.plan;
    expect(plan).toMatchObject({
      attempt: 1,
      image: NEW,
      version: versionIn(NEW),
      versionFrom: expect.stringMatching(/^read on /),
      total: 4,
      leftAloneCount: 0,
    });
    expect(plan?.waves?.[0]).toEqual({ name: 'control-plane', group: 'control-plane', nodes: 1, maxUnavailable: 1 });
    expect(plan?.waves?.reduce((sum, { nodes }) => sum + nodes, 0)).toBe(4);
    expect(plan?.duration).toBeUndefined();
    expect(plan?.summary).toContain('duration not known yet');
  });

  it('names the budget that would block, and that it never opens', () => {
    const [held, ...others] = risksOf(stage.status(NAME) ?? {}, 'BudgetBlocks');
    expect(others).toEqual([]);
    expect(held).toMatchObject({ effect: 'Waits', count: 1 });
    expect(held?.message).toMatch(
      /PodDisruptionBudget default\/held-on-worker-1 never allows a disruption \(1 healthy, 1 needed, of 1\).*held-on-worker-1-\S+ on worker-1/,
    );
  });

  it('names a pod that nobody would make again, which refuses its node', () => {
    const [refused] = risksOf(stage.status(NAME) ?? {}, 'NodeRefused');
    expect(refused).toMatchObject({ effect: 'Refuses', count: 1 });
    expect(refused?.message).toMatch(/^worker-2 would end as Failed, untouched: .*default\/bare/);
  });

  it('names data that goes, volumes of one node, single pods, and the only control-plane node', () => {
    const status = stage.status(NAME) ?? {};
    expect(risksOf(status, 'EmptyDirData')[0]?.message).toMatch(/1 pod .*default\/database-\S+ on worker-3/);
    expect(risksOf(status, 'LocalVolumes')[0]?.message).toMatch(/default\/database-\S+ on worker-3/);
    expect(risksOf(status, 'SingleReplica')[0]).toMatchObject({ effect: 'Interrupts' });
    expect(risksOf(status, 'SingleReplica')[0]?.message).toMatch(/ReplicaSet held-on-worker-1-\S+\) on worker-1/);
    expect(risksOf(status, 'ControlPlane')[0]?.message).toContain('no API server while it reboots');
    const effects = status.plan?.risks?.map(({ effect }) => effect);
    expect(effects?.[0]).toBe('Refuses');
    expect(status.plan?.riskCount).toBe(effects?.length);
  });

  it('is a table for people, and JSON for programs', async () => {
    const table = await stage.kubectl('get', ...OBJECT, '-o', 'jsonpath={.status.plan.table}');
    expect(table).toMatch(/^NODE +WAVE +FROM +TO +NOTE$/m);
    expect(table).toMatch(new RegExp(`^worker-2 .*refused: .*default/bare`, 'm'));
    const answer = await stage.temporalCLI(
      'workflow',
      'query',
      '--workflow-id',
      stage.rolloutID(NAME),
      '--type',
      'plan',
      '--output',
      'json',
    );
    const { queryResult } = JSON.parse(answer) as { queryResult: [PlanReport] };
    expect(queryResult[0].nodes.map(({ name }) => name)).toEqual(['cp-1', 'worker-1', 'worker-2', 'worker-3']);
    expect(await stage.kubectl('get', ...OBJECT)).toMatch(new RegExp(`^${NAME} +Planned +0/4 +0`, 'm'));
  });

  it('is made anew by an edit, and by a retry', async () => {
    await edit({ strategy: { drain: { force: true } } });
    const second = await stage.ended(NAME, 2);
    expect(second.phase).toBe('Planned');
    expect(risksOf(second, 'NodeRefused')).toEqual([]);
    expect(risksOf(second, 'UnmanagedPods')[0]).toMatchObject({ effect: 'Loses', count: 1 });
    await stage.kubectl('annotate', ...OBJECT, 'kairos.io/retry=again');
    const attempt = () => stage.status(NAME)?.rollout;
    await stage.until('the third plan', attempt, (now) => now?.attempt === 3 && now.phase === 'Planned');
    expect(stage.status(NAME)?.plan?.attempt).toBe(3);
    expect(await podUIDs()).toBe(before);
    expect(stage.touched).toEqual([]);
  }, 120_000);
});

const askForPlan = (value: string) => stage.kubectl('annotate', ...OBJECT, '--overwrite', `kairos.io/plan=${value}`);
const answered = (value: string) =>
  stage.until(
    `the plan of ${value}`,
    () => stage.status(NAME),
    (now) => now?.requests?.plan?.value === value && now.requests.plan.accepted !== undefined,
    60_000,
  );

describe('a plan that is asked for', () => {
  it('of a rollout that has ended is of the next attempt, and begins none', async () => {
    const { rollout } = stage.status(NAME) ?? {};
    await shell.run('kubectl plan');
    await stage.kubectl('wait', ...OBJECT, '--for=jsonpath={.status.plan.asked}=before the night', '--timeout=60s');
    const status = await answered('before the night');
    expect(status?.requests?.plan).toMatchObject({ accepted: true, attempt: 4, number: 1 });
    expect(status?.plan).toMatchObject({ asked: 'before the night', attempt: 4, total: 4, version: versionIn(NEW) });
    expect(status?.rollout).toEqual(rollout);
    const condition = () => stage.status(NAME)?.conditions?.find(({ type }) => type === 'LastRequest');
    const said = await stage.until('it is said', condition, (one) => one?.message.includes('kairos.io/plan') === true);
    expect(said).toMatchObject({ status: 'True', reason: 'RequestAccepted' });
    expect(said?.message).toContain('4 nodes in 2 waves to');
    const planID = stage.rolloutID(NAME).replace('rollout/', 'plan/');
    const json = await stage.temporalCLI(
      'workflow',
      'query',
      '--workflow-id',
      planID,
      '--type',
      'plan',
      '--output',
      'json',
    );
    expect((JSON.parse(json) as { queryResult: [PlanReport] }).queryResult[0].total).toBe(4);
    expect(stage.touched).toEqual([]);
    expect(await podUIDs()).toBe(before);
    await stage.cleanedUp();
  }, 120_000);

  it('of a rollout that is paused, and of one that has a node in hand, says where that stands and leaves it alone', async () => {
    await stage.kubectl('annotate', ...OBJECT, 'kairos.io/pause=somebody looks');
    await edit({ dryRun: false, strategy: { waves: [{ name: 'first', nodes: 1 }] } });
    const rollout = () => stage.status(NAME)?.rollout;
    await stage.until('it is paused', rollout, (now) => now?.attempt === 4 && now.phase === 'Paused', 60_000);
    await askForPlan('paused');
    const paused = await answered('paused');
    expect(paused).toMatchObject({
      rollout: { phase: 'Paused' },
      plan: { asked: 'paused', attempt: 4 },
      requests: { plan: { accepted: true } },
    });
    expect(paused?.plan?.table).toMatch(/^cp-1 +control-plane +\S+ +\S+$/m);
    expect(stage.touched).toEqual([]);

    await stage.kubectl('annotate', ...OBJECT, 'kairos.io/pause-');
    // Its first worker, which cannot be drained.
    const held = () => stage.kairosNode('worker-1').status;
    await stage.until(
      'its drain is held',
      held,
      ({ step, blockedPods }) => step === 'Drain' && blockedPods === 1,
      90_000,
    );
    const { waves, verdicts } = rollout() ?? {};
    await askForPlan('running');
    const running = await answered('running');
    expect(running?.plan).toMatchObject({ asked: 'running', attempt: 4, total: 4 });
    expect(running?.plan?.table).toMatch(/^worker-1 .*in hand: Drain$/m);
    expect(running?.plan?.table).toMatch(/^cp-1 .*(?:runs it already: not touched|ended in this attempt: Succeeded)/m);
    expect(running?.rollout).toMatchObject({ phase: 'Running', attempt: 4, waves, verdicts });
    // The watcher may be a moment behind with its part.
    const counts = () => stage.status(NAME)?.nodes;
    await stage.until('its counts', counts, (nodes) => nodes?.done === 1 && nodes.inFlight === 1);
    expect(waves?.map(({ name }) => name)).toEqual(['control-plane', 'first', 'workers']);
    expect(stage.kairosNode('worker-1').status.step).toBe('Drain');
    expect([...shell.ran].sort()).toEqual([...(RUN_BY['test/e2e/plan.server.test.ts'] ?? [])].sort());
  }, 200_000);
});

describe('a plan that is carried out', () => {
  it('is upgraded with an end in sight', async () => {
    const seen: NodeOpUpgradeStatus[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      while (!stop.signal.aborted) {
        const now = stage.status(NAME);
        if (now !== undefined && now !== seen.at(-1)) seen.push(now);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    await letGo();
    const status = await stage.ended(NAME, 3);
    stop.abort();
    await watching;
    expect(status).toMatchObject({ phase: 'Completed', nodes: { total: 4, done: 4, failed: 0 } });
    // What ran then is over.
    expect(status.eta).toBeUndefined();
    expect(status.wave).toBeUndefined();
    const etas = seen.flatMap(({ eta }) => (eta === undefined ? [] : [eta]));
    expect(etas.length).toBeGreaterThan(0);
    for (const { at, latest } of etas) expect(Date.parse(at)).toBeLessThanOrEqual(Date.parse(latest));
    const waves = [...new Set(seen.flatMap(({ wave }) => (wave === undefined ? [] : [`${wave.number} ${wave.name}`])))];
    expect(waves).toEqual(['2 first', '3 workers']);
    // As long as it was not Completed, a node was left; once it is, none is.
    for (const { phase, nodes } of seen) if (phase === 'Completed') expect(nodes?.done).toBe(4);
  }, 150_000);

  it('says of each node how it ended, as the Go operator would', () => {
    const entries = stage.status(NAME)?.nodeStatuses ?? {};
    expect(Object.keys(entries).sort()).toEqual(['cp-1', 'worker-1', 'worker-2', 'worker-3']);
    expect(entries['cp-1']).toMatchObject({ phase: 'Completed', rebootStatus: 'completed' });
    expect(stage.status(NAME)?.nodeStatusesLeftOut).toBe(0);
  });

  it('leaves a record of all attempts, the newest first', async () => {
    const json = await stage.kubectl('get', ...OBJECT, '-o', 'jsonpath={.status.history}');
    const history = JSON.parse(json) as NonNullable<NodeOpUpgradeStatus['history']>;
    expect(history.map(({ attempt, phase }) => `${attempt} ${phase}`)).toEqual([
      '4 Completed',
      '3 Planned',
      '2 Planned',
      '1 Planned',
    ]);
    expect(history[0]).toMatchObject({
      generation: 3,
      image: NEW,
      version: versionIn(NEW),
      total: 4,
      verdicts: { Succeeded: 4 },
    });
    const { startedAt = '', finishedAt = '' } = history[0] ?? {};
    expect(Date.parse(finishedAt)).toBeGreaterThan(Date.parse(startedAt));
    expect(history[1]).toMatchObject({ retry: 'again' });
  });

  it('knows from then on how long it takes, and which nodes run the target already', async () => {
    await edit({ dryRun: true });
    const status = await stage.ended(NAME, 4);
    expect(status.plan?.duration).toMatchObject({ upgrades: 4 });
    expect(status.plan?.table).toMatch(/^worker-1 .*runs it already: not touched/m);
    expect(status.plan).toMatchObject({ total: 4, touched: 0, summary: expect.stringContaining('; nothing to do; ') });
  }, 90_000);
});
