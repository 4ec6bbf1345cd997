import { Context } from '@temporalio/activity';
import type { NodeInHand } from '../api/messages.ts';
import type { DrainRecord } from '../api/types.ts';
import { type PodView, deletePod } from '../kube/pods.ts';
import type { Reflector } from '../kube/reflector.ts';
import { blockerText } from '../policy/drain-blockers.ts';
import { type LeftPod, decideRung } from '../policy/drain-ladder.ts';
import { decideDrain, drainOf, drainRefusal, listed } from '../policy/drain.ts';
import { formatDuration } from '../policy/duration.ts';
import { type ClusterView, assertCluster } from './cluster-view.ts';
import { askedAtMs } from './contact.ts';
import { BlockerList } from './drain-blockers.ts';
import { EvictionRefused, PodMover, keyOf } from './drain-pods.ts';
import { canMoveElsewhere } from './drain-refusal.ts';
import { DrainVolumes } from './drain-volumes.ts';
import { type HoldEnd, untilHoldEnds } from './hold.ts';
import { showStep } from './step-status.ts';
import { beforeDeadline, firstOf, waitInActivity } from './waiting.ts';

export type DrainAnswer =
  | { outcome: 'Drained'; drain?: DrainRecord }
  | { outcome: 'BootChanged' }
  /** The node is given back; `drain`: what was done to its pods before. */
  | { outcome: 'Failed' | 'Skipped'; message: string; drain?: DrainRecord };

/** What a drain remembers for its next attempt, should this one be cut off. */
interface Memory {
  waitsFor: string;
  claims: Record<string, string>;
  /** When the pods were gone, in milliseconds since 1970. */
  goneAtMs?: number;
}

/**
 * Moves the node's pods off through the eviction API and waits until they are gone by UID, and their volumes detached.
 * Disruption budgets are honoured; what holds a pod is listed in the KairosNode as long as it does. At the deadline
 * `strategy.drain.onTimeout` decides. A person who uncordons the node, or takes our mark away, ends the drain at once.
 *
 * The node's pods are those of the list that was made before it was marked, and of the watch from there; repeating it moves what is left, and its deadlines count from the first
 * attempt. Where no other node could take a pod, nothing is evicted: the pods would only wait for this node.
 */
export async function drainNode(view: ClusterView, hand: NodeInHand): Promise<DrainAnswer> {
  assertCluster(view, hand.cluster);
  if (!canMoveElsewhere(view, hand.node)) {
    const message = 'no other node is Ready and schedulable: nothing was evicted, its pods go down with it';
    const drain: DrainRecord = { outcome: 'NothingEvicted', message };
    await showStep(view, { ...hand, drain }, 'Drain', message);
    return { outcome: 'Drained', drain };
  }
  const record = earlierRecord(view, hand);
  await showStep(view, withRecord(hand, record), 'Drain', 'moving its pods to other nodes');
  const drain = new Drain(view, hand, record, Context.current().info.heartbeatDetails as Memory | undefined);
  let answer: DrainAnswer | undefined;
  try {
    answer = await waitInActivity(
      undefined,
      (signal) => drain.run(signal),
      () => drain.memory,
    );
    return answer;
  } finally {
    await drain.end(answer?.outcome === 'Drained');
  }
}

/** What an earlier attempt of this drain recorded, before it was cut off. */
function earlierRecord(view: ClusterView, hand: NodeInHand): DrainRecord | undefined {
  const before = view.kairosNodes.get(hand.node.name)?.status.inHand;
  return before?.startedAt === hand.startedAt ? before.drain : undefined;
}

const withRecord = (hand: NodeInHand, record: DrainRecord | undefined): NodeInHand =>
  record === undefined ? hand : { ...hand, drain: record };

class Drain {
  readonly #view: ClusterView;
  readonly #hand: NodeInHand;
  readonly #options;
  readonly #pods: Reflector<PodView>;
  readonly #closePods: () => void;
  readonly #blockers: BlockerList;
  readonly #volumes: DrainVolumes;
  readonly #mover: PodMover;
  readonly #deadlineMs: number;
  #goneAtMs: number | undefined;
  #record: DrainRecord | undefined;

  constructor(view: ClusterView, hand: NodeInHand, record: DrainRecord | undefined, memory: Memory | undefined) {
    this.#view = view;
    this.#hand = hand;
    this.#options = drainOf(hand.spec);
    const { pods, close } = view.nodePods.open(hand.node.name);
    this.#pods = pods;
    this.#closePods = close;
    this.#blockers = new BlockerList(view, hand);
    this.#volumes = new DrainVolumes(view.client, hand.node.name, memory?.claims ?? {});
    this.#goneAtMs = memory?.goneAtMs;
    this.#mover = new PodMover(view.client, this.#pods, this.#blockers, this.#volumes, {
      ...this.#options.drain,
      startedAtMs: askedAtMs(),
    });
    this.#deadlineMs = askedAtMs() + hand.spec.drainTimeoutMs;
    this.#record = record;
    this.#blockers.hand = withRecord(hand, record);
  }

  get memory(): Memory {
    return {
      waitsFor: this.#blockers.text,
      claims: this.#volumes.known,
      ...(this.#goneAtMs === undefined ? {} : { goneAtMs: this.#goneAtMs }),
    };
  }

  async end(goesOn: boolean): Promise<void> {
    this.#closePods();
    await this.#blockers.end(goesOn);
  }

  /** The drain, and beside it an eye on the node: whichever ends first. */
  async run(signal: AbortSignal): Promise<DrainAnswer> {
    try {
      const first = await firstOf<DrainAnswer | HoldEnd>(
        signal,
        (either) => this.#drain(either),
        (either) => untilHoldEnds(this.#view, this.#hand, either),
      );
      return first.outcome === 'Taken' ? this.#givenUp('Failed', first.message) : first;
    } catch (error) {
      if (error instanceof EvictionRefused) return this.#givenUp('Failed', error.message);
      throw error;
    }
  }

  async #drain(signal: AbortSignal): Promise<DrainAnswer> {
    await this.#pods.synced(signal);
    if (this.#goneAtMs === undefined) {
      const moved = await beforeDeadline(this.#deadlineMs, signal, (within) => this.#moveAll(within));
      const answer = moved ?? (await this.#climb(signal));
      if (answer !== 'Moved') return answer;
      this.#goneAtMs = Date.now();
    }
    return (await this.#detach(signal)) ?? this.#drained();
  }

  #drained(): DrainAnswer {
    return { outcome: 'Drained', ...(this.#record === undefined ? {} : { drain: this.#record }) };
  }

  #givenUp(outcome: 'Failed' | 'Skipped', message: string): DrainAnswer {
    return { outcome, message, ...(this.#record === undefined ? {} : { drain: this.#record }) };
  }

  /** Moves until no pod is left that should go; a pod that comes meanwhile is taken in the next round. */
  async #moveAll(signal: AbortSignal): Promise<'Moved' | DrainAnswer> {
    for (;;) {
      const refused = drainRefusal(this.#pods.values(), this.#options, Date.now());
      if (refused !== undefined)
        return this.#givenUp('Failed', `the drain of node ${this.#hand.node.name} refused ${refused}`);
      const leaving = this.#leaving();
      if (leaving.length === 0) return 'Moved';
      await this.#mover.move(leaving, signal);
    }
  }

  #leaving(): PodView[] {
    return [...this.#pods.values()].filter((pod) => decideDrain(pod, this.#options, Date.now()).action === 'evict');
  }

  /** The deadline has passed: what the strategy wants then. */
  async #climb(signal: AbortSignal): Promise<'Moved' | DrainAnswer> {
    const { drain } = this.#options;
    const left = await this.#mover.ask(this.#leaving());
    if (left.length === 0) return 'Moved';
    const rung = decideRung(left, drain);
    switch (rung.rung) {
      case 'Fail':
        return this.#givenUp('Failed', [this.#late(left), ...(rung.why === undefined ? [] : [rung.why])].join('; '));
      case 'Skip':
        return this.#givenUp('Skipped', `${this.#late(left)}; skipped, as strategy.drain.onTimeout wants it`);
      case 'Delete':
        return this.#delete(rung.pods, signal);
    }
  }

  /** Deletes, and waits as long again for all that is left; kills what is left then, where that is asked for. */
  async #delete(held: readonly (LeftPod & { uid: string })[], signal: AbortSignal): Promise<'Moved' | DrainAnswer> {
    const { drain } = this.#options;
    const timeout = formatDuration(this.#hand.spec.drainTimeoutMs);
    if (held.length > 0) {
      const names = held.map((pod) => `${keyOf(pod)}${byBudget(pod)}`);
      await this.#tell(
        'PodsDeleted',
        `deleted past their budgets, as the drain did not end within ${timeout}: ${listed(names)}`,
      );
      await Promise.all(held.map((pod) => this.#remove(pod, drain.gracePeriodSeconds)));
    }
    const wait = (untilMs: number) => beforeDeadline(untilMs, signal, (within) => this.#moveAll(within));
    const endMs = this.#deadlineMs + this.#hand.spec.drainTimeoutMs;
    const killAtMs = drain.forceDeleteAfterMs === undefined ? endMs : this.#deadlineMs + drain.forceDeleteAfterMs;
    const went = await wait(killAtMs);
    if (went !== undefined) return went;
    if (killAtMs < endMs) {
      const left = this.#leaving().filter(({ uid, deleting }) => deleting || this.#mover.deleted.has(uid));
      if (left.length > 0) await this.#tell('PodsDeleted', `killed without a grace period: ${listed(left.map(keyOf))}`);
      await Promise.all(left.map((pod) => this.#remove(pod, 0)));
      const killed = await wait(endMs);
      if (killed !== undefined) return killed;
    }
    const left = await this.#mover.ask(this.#leaving());
    return left.length === 0
      ? 'Moved'
      : this.#givenUp('Failed', `${this.#late(left)}, nor as long again after the deletion`);
  }

  async #remove({ namespace, name, uid }: { namespace: string; name: string; uid: string }, grace: number | undefined) {
    this.#mover.deleted.add(uid);
    const options = { uid, ...(grace === undefined ? {} : { gracePeriodSeconds: grace }) };
    await deletePod(this.#view.client, namespace, name, options);
  }

  /** Why the node is given back: what holds it, with names. */
  #late(left: readonly LeftPod[]): string {
    const held = this.#blockers.all.map(blockerText);
    const what = held.length > 0 ? held : left.map((pod) => `pod ${keyOf(pod)} is still terminating`);
    const more = what.length > 5 ? `; and ${what.length - 5} more` : '';
    return `drain did not end within ${formatDuration(this.#hand.spec.drainTimeoutMs)}: ${what.slice(0, 5).join('; ')}${more}`;
  }

  /** Waits for the volumes of the pods that were moved; undefined: they are detached, or not waited for any longer. */
  async #detach(signal: AbortSignal): Promise<DrainAnswer | undefined> {
    const { volumeDetachMs, onTimeout } = this.#options.drain;
    if (volumeDetachMs === 0) return undefined;
    const attached = await this.#volumes.attached(this.#pods.values(), signal);
    if (attached.length === 0) return undefined;
    for (const { claim, volume, name } of attached)
      this.#blockers.set(claim, {
        reason: 'VolumeAttached',
        message: `bound to ${volume}, which is still attached to the node: kubectl describe volumeattachment ${name}`,
      });
    const detached = await beforeDeadline((this.#goneAtMs ?? Date.now()) + volumeDetachMs, signal, (within) =>
      this.#volumes.untilDetached(attached, ({ claim }) => this.#blockers.delete(claim), within).then(() => true),
    );
    if (detached === true) return undefined;
    const left = this.#blockers.all.map(blockerText);
    const late = `volumes were not detached within ${formatDuration(volumeDetachMs)} (strategy.drain.volumeDetachTimeout): ${listed(left)}`;
    switch (onTimeout) {
      case 'Fail':
        return this.#givenUp('Failed', late);
      case 'Skip':
        return this.#givenUp('Skipped', `${late}; skipped, as strategy.drain.onTimeout wants it`);
      case 'Delete':
      case 'DeleteUnhealthy':
        await this.#tell('VolumesAttached', `${late}; upgraded nevertheless, as strategy.drain.onTimeout wants it`);
        return undefined;
    }
  }

  /** Records what was done, for the node's verdict and an Event, before it is done: it must not be lost with us. */
  async #tell(outcome: DrainRecord['outcome'], message: string): Promise<void> {
    const earlier = this.#record;
    if (earlier?.message.includes(message) === true) return;
    const both = earlier === undefined ? message : `${earlier.message}; ${message}`;
    const worst = earlier?.outcome === 'PodsDeleted' ? earlier.outcome : outcome;
    this.#record = { outcome: worst, message: both.slice(0, 2000) };
    this.#blockers.hand = withRecord(this.#hand, this.#record);
    await showStep(this.#view, this.#blockers.hand, 'Drain', message.slice(0, 4000));
  }
}

const byBudget = ({ budgets }: LeftPod) => (budgets.length === 0 ? '' : ` (PodDisruptionBudget ${budgets.join(', ')})`);
