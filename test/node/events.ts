import { setTimeout as sleep } from 'node:timers/promises';
import { nodeWorkflowID, waveWorkflowID } from '../../api/messages.ts';
import { STEPS_OF_UPGRADE, type Kept, type StepOfUpgrade, type Theatre } from './steps.ts';

/** One node, kept at one step, and the NodeOpUpgrade of its name. */
export interface Cell {
  readonly node: string;
  readonly uid: string;
  readonly step: StepOfUpgrade;
  readonly kept: Kept;
}

/** What befalls all of them at once, each at its own step. Resolves when it is over and each may go on. */
type Befall = (theatre: Theatre, cells: readonly Cell[]) => Promise<void>;

const API_SERVER_AWAY_MS = 30_000;

const release = async (cells: readonly Cell[]) => {
  await Promise.all(cells.map(({ kept }) => Promise.resolve(kept.release())));
};

/** From the watcher to the workflow of the node, on a machine that does other things besides. */
const KNOWN_WITHIN_MS = 5000;

/** Asks for each of them what ends its upgrade, gives that time to be known, and lets it go on. */
const each =
  (act: (theatre: Theatre, cell: Cell) => Promise<unknown>): Befall =>
  async (theatre, cells) => {
    await Promise.all(cells.map((cell) => act(theatre, cell)));
    await sleep(KNOWN_WITHIN_MS);
    await release(cells);
  };

const WHY = 'a test of what is left behind';
const terminate = ({ stage }: Theatre, id: string) =>
  stage.temporalCLI('workflow', 'terminate', '--workflow-id', id, '--reason', WHY);

/** At the same moment, the node first: none of them learns of the end of another. A node may have no workflow yet. */
async function terminateAll({ stage }: Theatre, { node, uid }: Cell): Promise<void> {
  const rollout = stage.rolloutID(node);
  const { generation = 1, attempt = 1 } = stage.status(node)?.rollout ?? {};
  const request = { kind: 'NodeOpUpgrade', namespace: '', name: node, uid: '', generation, attempt } as const;
  const ids = [nodeWorkflowID(stage.ref, { name: node, uid }), waveWorkflowID(rollout, request, 'workers'), rollout];
  const ends = ids.map((id) => stage.temporal.workflow.getHandle(id).terminate(WHY));
  const [, , last] = await Promise.allSettled(ends);
  if (last?.status === 'rejected') throw last.reason;
}

async function killWorker({ stage }: Theatre, cells: readonly Cell[]): Promise<void> {
  await stage.product.worker.kill('SIGKILL');
  await release(cells);
  await stage.product.worker.start();
}

async function takeApiServerAway({ stage }: Theatre, cells: readonly Cell[]): Promise<void> {
  const { etcd: _etcd, ...parts } = stage.cluster.controlPlane.processes;
  const { 'kube-apiserver': server, ...controllers } = parts;
  await Promise.all(Object.values(parts).map((process) => process.kill('SIGKILL')));
  const waiting = sleep(API_SERVER_AWAY_MS);
  // What needs the API server to be let go is let go when it is back.
  await waiting;
  await server.start();
  await Promise.all(Object.values(controllers).map((process) => process.start()));
  await stage.cluster.restartKwok();
  await release(cells);
}

export const EVENTS = {
  success: (_theatre, cells) => release(cells),
  'worker killed': killWorker,
  'API server away': takeApiServerAway,
  cancel: each(({ stage }, { node }) =>
    stage.temporalCLI('workflow', 'cancel', '--workflow-id', stage.rolloutID(node)),
  ),
  'resource deleted': each(({ stage }, { node }) => stage.deleteUpgrade(node)),
  'node deleted': each(({ stage }, { node }) => stage.cluster.removeNode(node)),
  'node replaced': each(async ({ stage }, { node }) => {
    await stage.cluster.removeNode(node);
    await stage.cluster.addNode({ name: node });
  }),
  'rollout terminated': each((theatre, { node }) => terminate(theatre, theatre.stage.rolloutID(node))),
  'all terminated': each(terminateAll),
} satisfies Record<string, Befall>;

export type Event = keyof typeof EVENTS | 'its own failure';
export const ALL_EVENTS = ['success', 'its own failure', ...Object.keys(EVENTS).slice(1)] as Event[];
export const STEP_NAMES = STEPS_OF_UPGRADE.map(({ step }) => step);
