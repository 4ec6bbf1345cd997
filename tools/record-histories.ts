import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { format } from 'prettier';
import { nodeWorkflowID, type NodeInHand, type NodeUpgradeInput } from '../api/messages.ts';
import type { Plan, PlanReport } from '../api/plan-messages.ts';
import { nodes, startRig, until, type Rig } from '../test/workflows/rig.ts';
import { Gate } from '../test/workflows/stubs.ts';

/**
 * Records what the workflows of today write into Temporal: a rollout that succeeds, one that fails, one that is cancelled
 * and one of which a node is recovered, each with its wave and its nodes, and a plan that is asked for.
 * test/workflows/replay.test.ts replays them, so that a change of the workflows which would break a rollout that is under
 * way is seen before it is released. Run it again only for histories that no release has written; for the others the
 * change goes behind `patched()`. `record-histories.ts planned` records these again and leaves the others as they are.
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

const UNUSED = new Set(['stackTrace', 'workerVersion', 'identity', 'requestId', 'header']);

/** Without what a replay does not look at: what steps were given, who ran them, and where an error came from. */
function slim(key: string, value: unknown): unknown {
  if (UNUSED.has(key)) return undefined;
  if (key === 'activityTaskScheduledEventAttributes' || key === 'startChildWorkflowExecutionInitiatedEventAttributes')
    return { ...(value as object), input: undefined };
  return value;
}

const rig = await startRig('recorder');
try {
  await mkdir(FOLDER, { recursive: true });
  const scenarios = { success, failure, cancel, recovery, planned };
  const wanted = process.argv.slice(2);
  for (const [scenario, record] of Object.entries(scenarios)) {
    if (wanted.length > 0 && !wanted.includes(scenario)) continue;
    const earlier = (await readdir(FOLDER)).filter((file) => file.startsWith(`${scenario}-`));
    for (const file of earlier) await rm(path.join(FOLDER, file));
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
