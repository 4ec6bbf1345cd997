import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { format } from 'prettier';
import { nodeWorkflowID, type NodeInHand, type NodeRef, type NodeUpgradeInput } from '../api/messages.ts';
import type { Plan, PlanReport, PlannedWave } from '../api/plan-messages.ts';
import { nodes, startRig, until, type Rig } from '../test/workflows/rig.ts';
import { Gate } from '../test/workflows/stubs.ts';

/**
 * Records what the workflows of today write into Temporal: how a rollout succeeds, fails, is cancelled, and what people
 * ask of it, each with waves and nodes, and a plan that is asked for. test/workflows/replay.test.ts replays them, so that a change of the workflows
 * which would break a rollout that is under way is seen before it is released.
 *
 * What is recorded stays: without arguments only scenarios that have no histories yet are played. Name one to record it
 * again, which is right only where no release has written such histories; else the change goes behind `patched()`.
 */
const FOLDER = fileURLToPath(new URL('../test/workflows/histories/', import.meta.url));

type Recorded = Record<string, WorkflowHandle>;

const member = (group: Plan['workers'], index: number) => {
  const node = group[index];
  if (node === undefined) throw new Error(`no node ${index}`);
  return node;
};

/** Control plane, barrier and workers; paused and resumed once; a node that waits for its place. */
async function success(rig: Rig): Promise<Recorded> {
  const [controlPlane, workers] = [nodes(1, 'cp'), nodes(2)];
  let asked = 0;
  const started = await rig.startRollout({
    plan: { controlPlane, workers },
    spec: { upgradeRecovery: true, prePullAhead: 1 },
    answers: {
      checkGates: ({ node }) => {
        asked += node.name === 'w-1' ? 1 : 0;
        return node.name === 'w-1' && asked === 1
          ? { answer: 'Wait', reason: 'node w-1 is not Ready' }
          : { answer: 'Go', bootID: 'boot-1', from: 'v1' };
      },
    },
  });
  await until('cp-1 drains', () => started.script.nodes('drainNode').length === 1);
  await started.handle.signal('pause', { reason: 'lunch' });
  await started.handle.signal('resume', {});
  await started.handle.result();
  return {
    rollout: started.handle,
    wave: rig.waveOf(started, 'workers'),
    node: rig.nodeOf(member(workers, 1)),
  };
}

/** A worker that falls back to its old image stops the rollout. */
async function failure(rig: Rig): Promise<Recorded> {
  const workers = nodes(2);
  const started = await rig.startRollout({
    plan: { workers },
    spec: { prePullAhead: 1 },
    answers: { verifyNode: () => ({ verdict: 'RolledBack', message: 'fell back to v1', bootID: 'boot-2' }) },
  });
  await started.handle.result();
  return { rollout: started.handle, wave: rig.waveOf(started, 'workers'), node: rig.nodeOf(member(workers, 0)) };
}

/** Cancelled while one node drains and another one is being written. */
async function cancel(rig: Rig): Promise<Recorded> {
  const workers = nodes(3);
  const [draining, writing] = [new Gate(), new Gate()];
  const started = await rig.startRollout({
    plan: { workers, maxUnavailable: 2 },
    spec: { prePullAhead: 1 },
    answers: {
      drainNode: async ({ node }) => {
        if (node.name === 'w-1') await draining.wait();
        return { outcome: 'Drained' };
      },
      writeImage: () => writing.wait().then(() => ({ outcome: 'Written' })),
    },
  });
  const { script, handle } = started;
  await until('w-1 drains, w-2 is being written', () => script.nodes('writeImage').length === 1);
  await handle.cancel();
  await until('w-1 is given back', () => script.ends().length === 1);
  writing.open();
  await handle.result().catch(() => undefined);
  return {
    rollout: handle,
    wave: rig.waveOf(started, 'workers'),
    'node-given-back': rig.nodeOf(member(workers, 0)),
    'node-past-return': rig.nodeOf(member(workers, 1)),
  };
}

/** The workflow of a node is terminated while its image is written; a run that recovers the node finishes it. */
async function recovery(rig: Rig): Promise<Recorded> {
  const workers = nodes(2);
  const writing = new Gate();
  let asked = 0;
  const started = await rig.startRollout({
    plan: { workers },
    spec: { prePullAhead: 1 },
    answers: {
      checkGates: (input) => {
        asked += input.recover === true ? 1 : 0;
        return input.recover === true
          ? { answer: 'Recover', leftover: { resume: 'write', hand: handOf(input, 'boot-1'), sameAttempt: true } }
          : { answer: 'Go', bootID: 'boot-1', from: 'v1' };
      },
      writeImage: () => writing.wait().then(() => ({ outcome: 'Written' })),
    },
  });
  await until('w-1 is being written', () => started.script.nodes('writeImage').length === 1);
  await rig.nodeOf(member(workers, 0)).terminate('a test of what is left behind');
  await until('w-1 is being recovered', () => asked === 1);
  writing.open();
  await started.handle.result();
  return { rollout: started.handle, wave: rig.waveOf(started, 'workers'), node: rig.nodeOf(member(workers, 0)) };
}

const wave = (name: string, members: NodeRef[], more: Partial<PlannedWave> = {}): PlannedWave => ({
  name,
  group: 'worker',
  nodes: members,
  budget: 1,
  ...more,
});

/**
 * A wave is approved; of its nodes one is left out while it drains, and one that fell back is tried again. All are asked
 * for by updates, and once more by signals, which changes nothing.
 */
async function requests(rig: Rig): Promise<Recorded> {
  const [canary, rest] = [nodes(1, 'canary'), nodes(4)];
  const [leaving, last] = [new Gate(), new Gate()];
  const started = await rig.startRollout({
    plan: { waves: [wave('canary', canary), wave('rest', rest, { approval: true })] },
    spec: { prePullAhead: 1, stopOnFailure: false },
    answers: {
      drainNode: async ({ node }) => {
        if (node.name === 'w-1') await leaving.wait();
        if (node.name === 'w-4') await last.wait();
        return { outcome: 'Drained' };
      },
      verifyNode: ({ node, request }) =>
        node.name === 'w-2' && request.try === undefined
          ? { verdict: 'RolledBack', message: 'fell back to v1', bootID: 'boot-2' }
          : { verdict: 'Succeeded', message: 'runs v2', bootID: 'boot-2' },
    },
  });
  const { handle, script } = started;
  const ask = (name: string, message: object) => handle.executeUpdate(name, { args: [message] });
  const isIn = (step: 'drainNode' | 'endNode', node: string) => () => script.nodes(step).includes(node);
  await until('it waits', () => script.inputs('reportRollout').some(({ status }) => status.approval !== undefined));
  await ask('approve', { wave: 'rest', reason: 'dashboards are green', who: 'ana' });
  await until('w-1 drains', isIn('drainNode', 'w-1'));
  await ask('skip', { node: 'w-1,w-3', reason: 'their disks are replaced' });
  await until('w-4 drains', isIn('drainNode', 'w-4'));
  await ask('retry', {});
  for (const [name, message] of Object.entries({
    approve: { wave: 'rest' },
    skip: { node: 'w-3' },
    retry: { node: 'w-2' },
  }))
    await handle.signal(name, message);
  last.open();
  await handle.result();
  return { rollout: handle, wave: rig.waveOf(started, 'rest'), node: rig.nodeOf(member(rest, 0)) };
}

/** Aborted by an update while one node drains. */
async function abort(rig: Rig): Promise<Recorded> {
  const workers = nodes(2);
  const draining = new Gate();
  const started = await rig.startRollout({
    plan: { waves: [wave('workers', workers)] },
    spec: { prePullAhead: 1 },
    answers: { drainNode: () => draining.wait().then(() => ({ outcome: 'Drained' })) },
  });
  await until('w-1 drains', () => started.script.nodes('drainNode').length === 1);
  await started.handle.executeUpdate('abort', { args: [{ reason: 'customers complain' }] });
  await started.handle.result();
  return { rollout: started.handle };
}

/** A pause takes back a node that is marked; it is started again after it. */
async function pause(rig: Rig): Promise<Recorded> {
  const workers = nodes(2);
  const marking = new Gate();
  const started = await rig.startRollout({
    plan: { waves: [wave('workers', workers)] },
    spec: { prePullAhead: 1 },
    answers: { markNode: () => marking.wait().then(() => ({ outcome: 'Marked' })) },
  });
  const { handle, script } = started;
  await until('w-1 is marked', () => script.nodes('markNode').length === 1);
  await handle.executeUpdate('pause', { args: [{ reason: 'lunch' }] });
  const node = rig.client.workflow.getHandle(
    rig.nodeOf(member(workers, 0)).workflowId,
    (await rig.nodeOf(member(workers, 0)).describe()).runId,
  );
  await until('it has heard of that', async () =>
    JSON.stringify(await node.fetchHistory()).includes('WORKFLOW_EXECUTION_SIGNALED'),
  );
  marking.open();
  await until('w-1 is given back', () => script.ends().length === 1);
  await handle.executeUpdate('resume', { args: [{}] });
  await handle.result();
  return { wave: rig.waveOf(started, 'workers'), node };
}

/** Control plane and two waves, with soaks and health gates, each in a run of its own; then nodes that joined. */
async function continued(rig: Rig): Promise<Recorded> {
  const [controlPlane, first, second, joined] = [nodes(1, 'cp'), nodes(1, 'a'), nodes(1, 'b'), nodes(1, 'x')];
  const gate = { name: 'errors', prometheus: { url: 'http://prometheus', query: 'up' }, intervalMs: 1_000 };
  const started = await rig.startRollout({
    plan: {
      waves: [
        wave('control-plane', controlPlane, { group: 'control-plane' }),
        wave('first', first, { soakMs: 1_000 }),
        wave('second', second, { soakMs: 1_000 }),
      ],
      maxFailed: 1,
    },
    spec: { healthGates: [gate], newNodes: 'Upgrade' },
    timing: { continueAfterEvents: 40 },
    answers: { findJoined: () => ({ controlPlane: [], workers: joined }) },
  });
  const { handle } = started;
  const begun = await handle.describe();
  await handle.result();
  const id = handle.workflowId;
  return {
    'rollout-begun': rig.client.workflow.getHandle(id, begun.runId),
    rollout: rig.client.workflow.getHandle(id),
  };
}

/** A wave in two parts, of which a node of the first carries the operator; one of the second is left out in its turn. */
async function parts(rig: Rig): Promise<Recorded> {
  const workers = nodes(4);
  const draining = new Gate();
  const started = await rig.startRollout({
    plan: { waves: [wave('workers', workers, { segment: 2 })] },
    spec: { prePullAhead: 1 },
    answers: {
      readHosting: ({ node }) => ({ pods: node.name === 'w-1' ? ['kairos-system/kairos-worker-0'] : [] }),
      drainNode: async ({ node }) => {
        if (node.name === 'w-3') await draining.wait();
        return { outcome: 'Drained' };
      },
    },
  });
  const { handle, script } = started;
  await until('w-3 drains', () => script.nodes('drainNode').includes('w-3'));
  await handle.executeUpdate('skip', { args: [{ node: 'w-4' }] });
  draining.open();
  await handle.result();
  return { wave: rig.waveOf(started, 'workers'), 'wave-behind': rig.waveOf(started, 'workers.part-2') };
}

/** A plan that a person asks for. */
async function planned(rig: Rig): Promise<Recorded> {
  const report: PlanReport = {
    plannedAt: '2026-03-01T10:00:00.000Z',
    image: 'i',
    versionFrom: 'read on w-1',
    total: 0,
    waves: [],
    nodes: [],
    leftAlone: [],
    leftAloneCount: 0,
    risks: [],
    riskCount: 0,
  };
  const handle = await rig.startPlan({
    answers: { planRollout: () => ({ controlPlane: [], workers: [], leftAlone: [], maxUnavailable: 1, report }) },
  });
  await handle.result();
  return { plan: handle };
}

function handOf({ timing: _timing, recover: _recover, ...context }: NodeUpgradeInput, bootID: string): NodeInHand {
  const workflowID = nodeWorkflowID(context.cluster, context.node);
  return { ...context, workflowID, bootID, startedAt: '2026-03-01T10:00:00Z' };
}

const UNUSED = new Set(['stackTrace', 'workerVersion', 'identity', 'requestId', 'header', 'taskId', 'userMetadata']);

/** Of what was asked for, a replay compares the name and the id. */
const COMPARED: Record<string, readonly string[]> = {
  activityTaskScheduledEventAttributes: ['activityId', 'activityType', 'workflowTaskCompletedEventId'],
  startChildWorkflowExecutionInitiatedEventAttributes: [
    'workflowId',
    'workflowType',
    'workflowTaskCompletedEventId',
    'namespace',
  ],
};

/** Without what a replay does not look at: what steps were given, who ran them, and where an error came from. */
function slim(key: string, value: unknown): unknown {
  if (UNUSED.has(key)) return undefined;
  const compared = COMPARED[key];
  if (compared === undefined) return value;
  return Object.fromEntries(Object.entries(value as object).filter(([name]) => compared.includes(name)));
}

const SCENARIOS = { success, failure, cancel, recovery, requests, abort, pause, continued, parts, planned };

const rig = await startRig('recorder');
try {
  await mkdir(FOLDER, { recursive: true });
  const files = await readdir(FOLDER);
  const named = process.argv.slice(2);
  for (const [scenario, record] of Object.entries(SCENARIOS)) {
    const own = files.filter((file) => file.startsWith(`${scenario}-`));
    if (named.length === 0 ? own.length > 0 : !named.includes(scenario)) continue;
    for (const old of own) await rm(path.join(FOLDER, old));
    for (const [name, handle] of Object.entries(await record(rig))) {
      const history = JSON.parse(historyToJSON(await handle.fetchHistory())) as { events: unknown[] };
      const json = await format(JSON.stringify(history, slim), { parser: 'json', printWidth: 120 });
      await writeFile(path.join(FOLDER, `${scenario}-${name}.json`), json);
      console.log(`${scenario}-${name}.json: ${history.events.length} events, ${Math.round(json.length / 1024)} kB`);
    }
  }
} finally {
  await rig.stop();
}
