import type { NodeRef, Place, RolloutContext, Target } from '../api/messages.ts';
import type { KubeClient } from '../kube/client.ts';
import { readServerTrouble } from '../kube/server-readiness.ts';
import type { ClosedGate } from '../policy/gates.ts';
import { supersededText } from '../policy/superseded.ts';
import { type ClusterView, assertCluster, sameNode, untilSeen } from './cluster-view.ts';
import { GateStatus } from './gate-status.ts';
import { closedGate, endedBefore, readSuperseded } from './gates.ts';
import { ImageKeeper } from './pre-pull.ts';
import { DeadlinePassed, firstOf, pause, waitInActivity } from './waiting.ts';

/** How long a node that was refused a moment ago is left alone, where nothing is seen that refuses it. */
const UNSEEN_MS = 1000;
/** How often what it waits for is looked at where no watch tells: Leases that run out, and what is shown of it. */
const LOOK_MS = 1000;

/** `supersededBy`: the NodeOpUpgrade, as namespace/name, that the node is left to. */
export type PlaceAnswer = { open: true } | { open: false; reason: string; supersededBy?: string };

/** `target`: what its pull read; absent in waits that began before it was told. */
type PlaceInput = RolloutContext & { node: NodeRef; place: Place; reason: string; target?: Target };

/**
 * Waits until a node that could not start may try again: every gate is open. One wait, woken by the watches, whatever it
 * takes; what it waits for is in its heartbeats and in the KairosNode, and at the gates' deadline in its answer.
 *
 * Where the place is open at first sight, what refused the node is not seen yet, or nearly over, such as the workflow
 * of another rollout before its mark and after it: a moment's patience, or the wave would turn in circles.
 */
export async function waitForPlace(view: ClusterView, input: PlaceInput): Promise<PlaceAnswer> {
  assertCluster(view, input.cluster);
  const { name } = input.node;
  const superseded = () => {
    const node = sameNode(view, input.node);
    return node === undefined ? undefined : readSuperseded(view, input, node);
  };
  const closed = (): ClosedGate | undefined => {
    const node = sameNode(view, input.node);
    // Gone: let it start, it ends as skipped.
    if (node === undefined) return undefined;
    const kairos = view.kairosNodes.get(name);
    // It ended in this attempt, in another run: let it start, that is what it finds.
    if (endedBefore(input, kairos) || superseded() !== undefined) return undefined;
    return closedGate(view, input, node, kairos);
  };
  if (closed() === undefined) await waitInActivity(undefined, (signal) => pause(UNSEEN_MS, signal));
  const status = new GateStatus(view, input);
  const back = new ImageKeeper(view, input);
  let message: string | null = null;
  try {
    const answer = await waitUntilOpen(
      view,
      input.spec.gateTimeoutMs,
      () => closed()?.reason,
      (reason) => `waited for its place in vain: ${reason}`,
      () => {
        back.look();
        void status.show(closed());
      },
    );
    const winner = superseded();
    if (winner !== undefined) return { open: false, reason: supersededText(name, winner), supersededBy: winner.by };
    if (!answer.open) message = `Skipped: ${answer.reason}`;
    return answer;
  } finally {
    await waitInActivity(undefined, (signal) => status.clear(message, signal));
  }
}

/**
 * The barrier between the control plane and the workers: every control-plane node Ready and in nobody's hand, and the
 * API server says that it is ready, its etcd included. A node held on purpose stays in the way: the control plane is not
 * whole without it.
 */
export async function waitForControlPlane(view: ClusterView, context: RolloutContext): Promise<PlaceAnswer> {
  assertCluster(view, context.cluster);
  const server = new ServerReadiness(view.client);
  const closed = (): string | undefined => {
    const out = [...view.outages.values()].filter((node) => node.controlPlane).map((node) => node.name);
    if (out.length > 0) return `control-plane nodes ${out.join(', ')} are out; see kubectl get nodes`;
    return server.trouble === undefined
      ? undefined
      : `the API server is not ready: ${server.trouble}; see kubectl get --raw '/readyz?verbose'`;
  };
  try {
    return await waitUntilOpen(
      view,
      context.spec.gateTimeoutMs,
      closed,
      (reason) => `the workers were not started: ${reason}`,
      () => server.look(),
    );
  } finally {
    server.stop();
  }
}

/** Whether the API server is ready, as it last said; asked at each look, one question at a time. */
class ServerReadiness {
  trouble: string | undefined = 'it was not asked yet';
  readonly #client: KubeClient;
  readonly #stop = new AbortController();
  #asking = false;

  constructor(client: KubeClient) {
    this.#client = client;
    this.look();
  }

  look(): void {
    if (this.#asking) return;
    this.#asking = true;
    void readServerTrouble(this.#client, this.#stop.signal)
      .then(
        (trouble) => (this.trouble = trouble),
        () => undefined,
      )
      .finally(() => (this.#asking = false));
  }

  stop(): void {
    this.#stop.abort(new Error('not asked any more'));
  }
}

async function waitUntilOpen(
  view: ClusterView,
  deadlineMs: number,
  closed: () => string | undefined,
  say: (reason: string) => string,
  look: () => void = () => undefined,
): Promise<PlaceAnswer> {
  try {
    await waitInActivity(deadlineMs, (signal) => untilOpen(view, closed, look, signal), closed);
    return { open: true };
  } catch (error) {
    if (!(error instanceof DeadlinePassed)) throw error;
    return { open: false, reason: say(closed() ?? 'it opened too late') };
  }
}

/** Resolves once nothing is closed: at each change that the watches deliver, and after each look. */
async function untilOpen(
  view: ClusterView,
  closed: () => string | undefined,
  look: () => void,
  signal: AbortSignal,
): Promise<void> {
  const decide = () => (closed() === undefined ? true : undefined);
  while (decide() === undefined) {
    await firstOf<unknown>(
      signal,
      (either) => untilSeen(view, decide, either),
      (either) => pause(LOOK_MS, either),
    );
    if (decide() === undefined) look();
  }
}
