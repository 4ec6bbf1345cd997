import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import {
  nodeWorkflowID,
  planWorkflowID,
  taskQueue,
  waveWorkflowID,
  type ClusterRef,
  type NodeRef,
  type NodeUpgradeInput,
  type PlanInput,
  type RolloutInput,
  type RolloutRequest,
  type Timing,
  type WaveInput,
} from '../../api/messages.ts';
import type { Plan } from '../../api/plan-messages.ts';
import type { RolloutSpec } from '../../api/rollout-spec.ts';
import { resolveSpec, timingFor } from '../../policy/strategy.ts';
import { startTemporal } from '../../sim/temporal-server.ts';
import { Engine } from '../../watcher/engine.ts';
import { bundleWorkflows } from '../../worker/bundle.ts';
import type { nodeUpgrade, plan, rollout, wave } from '../../workflows/index.ts';
import { Script, stubActivities, targetOf, type Answers } from './stubs.ts';

export const IMAGE = 'registry.example/kairos:v2';
const CLUSTER: ClusterRef = { uid: 'c0ffee00-0000-4000-8000-000000000001', id: 'test-c0ffee00' };
// Heartbeats bring the cancellation to a wait: short ones, short tests.
const TIMING: Timing = { ...timingFor(10, true), heartbeatMs: 3_000, retryInitialMs: 50, retryMaximumMs: 200 };

export interface Wanted {
  spec?: Partial<RolloutSpec>;
  kind?: RolloutRequest['kind'];
  plan?: Partial<Plan>;
  nodes?: NodeRef[];
  place?: WaveInput['place'];
  answers?: Answers;
  timing?: Partial<Timing>;
  memo?: Record<string, unknown>;
}

export interface Started<W extends typeof rollout | typeof wave | typeof nodeUpgrade> {
  handle: WorkflowHandle<W>;
  script: Script;
  request: RolloutRequest;
  rolloutID: string;
}

/** A Temporal server, the workflows as they are in the sources, and steps that a test scripts. */
export interface Rig {
  client: Client;
  startRollout(wanted: Wanted): Promise<Started<typeof rollout>>;
  /** A plan that a person asks for. */
  startPlan(wanted: Wanted): Promise<WorkflowHandle<typeof plan>>;
  startWave(wanted: Wanted): Promise<Started<typeof wave>>;
  startNode(wanted: Wanted): Promise<Started<typeof nodeUpgrade>>;
  waveOf(started: { rolloutID: string; request: RolloutRequest }, name: string): WorkflowHandle<typeof wave>;
  nodeOf(node: NodeRef): WorkflowHandle<typeof nodeUpgrade>;
  stop(): Promise<void>;
}

let named = 0;

/** Nodes that no other test has: a node's workflow id comes from its UID. */
export function nodes(count: number, prefix = 'w'): NodeRef[] {
  named += 1;
  return Array.from({ length: count }, (_, index) => ({
    name: `${prefix}-${index + 1}`,
    uid: `uid-${named}-${prefix}-${index + 1}`,
  }));
}

export async function startRig(identity = `test-${process.pid}`): Promise<Rig> {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } },
  });
  const folder = await mkdtemp(path.join(tmpdir(), 'kairos-workflows-'));
  const [server, code] = await Promise.all([startTemporal({ folder }), bundleWorkflows()]);
  const connection = await Connection.connect({ address: server.address });
  const client = new Client({ connection, identity });
  if (!(await new Engine(connection, 'default', CLUSTER).addSearchAttributes()))
    throw new Error('Temporal did not take the search attributes');

  const scripts = new Map<string, Script>();
  const native = await NativeConnection.connect({ address: server.address });
  const worker = await Worker.create({
    connection: native,
    identity,
    taskQueue: taskQueue(CLUSTER),
    workflowBundle: { code },
    activities: stubActivities(scripts),
    maxHeartbeatThrottleInterval: 100,
  });
  const running = worker.run();

  const context = (wanted: Wanted) => {
    const name = `request-${scripts.size + 1}`;
    const script = new Script(wanted.answers);
    scripts.set(name, script);
    const kind = wanted.kind ?? 'NodeOpUpgrade';
    const request = { kind, namespace: 'default', name, uid: `uid-${name}`, generation: 1, attempt: 1 };
    const spec = { ...resolveSpec({ image: IMAGE }), ...wanted.spec };
    const rolloutID = `rollout/${CLUSTER.id}/default/${name}`;
    return {
      script,
      request,
      rolloutID,
      spec,
      shared: { cluster: CLUSTER, request, spec, timing: { ...TIMING, ...wanted.timing } },
    };
  };
  const start = { taskQueue: taskQueue(CLUSTER), workflowTaskTimeout: TIMING.workflowTaskMs };
  const place = { group: 'worker', budget: 1 } as const;

  return {
    client,
    async startRollout(wanted) {
      const { script, request, rolloutID, shared } = context({
        ...wanted,
        answers: {
          planRollout: () => ({ controlPlane: [], workers: [], leftAlone: [], maxUnavailable: 1, ...wanted.plan }),
          ...wanted.answers,
        },
      });
      const args: [RolloutInput] = [shared];
      const options = { ...start, workflowId: rolloutID, args, ...(wanted.memo && { memo: wanted.memo }) };
      const handle = await client.workflow.start<typeof rollout>('rollout', options);
      return { handle, script, request, rolloutID };
    },
    startPlan(wanted) {
      const { rolloutID, shared } = context(wanted);
      const args: [PlanInput] = [{ ...shared, asked: 'now' }];
      return client.workflow.start<typeof plan>('plan', { ...start, workflowId: planWorkflowID(rolloutID), args });
    },
    async startWave(wanted) {
      const { script, request, rolloutID, shared } = context(wanted);
      const members = wanted.nodes ?? nodes(1);
      const args: [WaveInput] = [
        { ...shared, rolloutID, name: 'workers', nodes: members, place: wanted.place ?? place, targets: {} },
      ];
      const workflowId = waveWorkflowID(rolloutID, request, 'workers');
      const handle = await client.workflow.start<typeof wave>('wave', { ...start, workflowId, args });
      return { handle, script, request, rolloutID };
    },
    async startNode(wanted) {
      const { script, request, rolloutID, shared } = context(wanted);
      const [member] = wanted.nodes ?? nodes(1);
      if (member === undefined) throw new Error('no node to start');
      const args: [NodeUpgradeInput] = [
        { ...shared, rolloutID, node: member, place: wanted.place ?? place, target: targetOf(shared.spec.image) },
      ];
      const workflowId = nodeWorkflowID(CLUSTER, member);
      const handle = await client.workflow.start<typeof nodeUpgrade>('nodeUpgrade', { ...start, workflowId, args });
      return { handle, script, request, rolloutID };
    },
    waveOf: ({ rolloutID, request }, name) => client.workflow.getHandle(waveWorkflowID(rolloutID, request, name)),
    nodeOf: (of) => client.workflow.getHandle(nodeWorkflowID(CLUSTER, of)),
    async stop() {
      worker.shutdown();
      await running;
      await native.close();
      await connection.close();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Asks again every 20 ms; throws with `what` after ten seconds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
