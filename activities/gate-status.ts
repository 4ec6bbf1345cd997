import type { NodeRef, RolloutContext } from '../api/messages.ts';
import type { KairosNodeStatus } from '../api/types.ts';
import { isReason, KubeError } from '../kube/errors.ts';
import { patchKairosNodeStatus, readKairosNode, type KairosNodeView } from '../kube/kairos-nodes.ts';
import { gateIn, waitingText, waitsAtGate, type ClosedGate } from '../policy/gates.ts';
import type { KubeClient } from '../kube/client.ts';
import type { ClusterView } from './cluster-view.ts';
import { pause } from './waiting.ts';

/** So often a change that comes in between is met. */
const CONFLICTS = 5;
const AGAIN_MS = 1000;

/** Whether a rollout has the node in hand: then its KairosNode says what that does. */
const isInHand = ({ inHand, upgradeState }: KairosNodeStatus) => inHand !== undefined || upgradeState === 'InProgress';

/**
 * Shows in the KairosNode of a node what it waits for at a gate. Written where it has changed, at most once for each
 * call of `show`; nothing is written over what a rollout shows that has the node in hand. Best effort: no upgrade waits
 * for it.
 */
export class GateStatus {
  readonly #view: ClusterView;
  readonly #context: RolloutContext & { node: NodeRef };
  #writing = false;
  #shown = false;

  constructor(view: ClusterView, context: RolloutContext & { node: NodeRef }) {
    this.#view = view;
    this.#context = context;
  }

  /** Never rejects. A write that meets a change of the KairosNode is left to the next call, which knows that change. */
  async show(closed: ClosedGate | undefined): Promise<void> {
    const now = this.#view.kairosNodes.get(this.#context.node.name);
    if (closed === undefined || now === undefined || this.#writing || isInHand(now.status)) return;
    const message = waitingText(closed).slice(0, 4000);
    const waits = now.status.step === 'Gate' && now.status.rollout === this.#context.rolloutID;
    if (waits && now.status.message === message) return;
    const sameGate = waits && gateIn(now.status.message) === closed.gate;
    this.#writing = true;
    this.#shown = true;
    try {
      await patchKairosNodeStatus(
        this.#view.client,
        now.name,
        {
          step: 'Gate',
          message,
          rollout: this.#context.rolloutID,
          ...(sameGate ? {} : { stepSince: new Date().toISOString() }),
        },
        now.resourceVersion,
      );
    } catch {
      // Shown by the next call.
    } finally {
      this.#writing = false;
    }
  }

  /**
   * The wait is over: nothing is left of it but, where given, what came of it. An API server that is away is waited for,
   * as nobody else takes back what is shown; whatever else goes wrong is let be. Rejects only with the signal's reason.
   */
  async clear(message: string | null, signal: AbortSignal): Promise<void> {
    const seen = this.#view.kairosNodes.get(this.#context.node.name)?.status;
    if (!this.#shown && seen?.step !== 'Gate' && message === null) return;
    for (let conflicts = 0; conflicts < CONFLICTS;) {
      try {
        const now = await readKairosNode(this.#view.client, this.#context.node.name);
        if (isInHand(now.status) || (now.status.step !== 'Gate' && message === null)) return;
        await clearGate(this.#view.client, now, message);
        return;
      } catch (error) {
        if (isReason(error, 'Conflict')) conflicts += 1;
        else if (error instanceof KubeError && error.retryable) await pause(AGAIN_MS, signal);
        else return;
      }
    }
  }
}

/** The rollout for which a node waits at a gate, as its KairosNode says. */
export const waitsFor = ({ status }: KairosNodeView): string | undefined =>
  waitsAtGate(status) ? status.rollout : undefined;

/** Takes back that a node waits at a gate. Rejects with `Conflict` where its KairosNode is not as it was seen. */
export async function clearGate(
  client: KubeClient,
  { name, resourceVersion }: KairosNodeView,
  message: string | null = null,
): Promise<void> {
  const change = { step: null, stepSince: null, message: message?.slice(0, 4000) ?? null };
  await patchKairosNodeStatus(client, name, change, resourceVersion);
}
