import { CancellationScope, patched, setCurrentDetails } from '@temporalio/workflow';
import type { NodeRef, NodeResult, PrecedingPart, Target, WaveInput, WaveResult } from '../api/messages.ts';
import { exceededBudget } from '../policy/failure-budget.ts';
import { isAnotherImage } from '../policy/image-identity.ts';
import { WaveEnds, type End } from './wave-ends.ts';

/** Since when an image that differs is pulled once more, from the registry, before it is called moved. */
export const PULLED_AGAIN = 'image-pulled-again';

/** Since when nodes that carry the operator are the last of a wave, not only of their part of it. */
const LAST_OF_ALL_PARTS = 'hosts-last-of-all-parts';
/** Since when a failure that is not tried again after all stops the wave, where the failure budget is exceeded by it. */
const KEPT_COUNTS = 'kept-failures-count';

/** A node on which the image is, with what was read inside it. */
export interface Pulled {
  node: NodeRef;
  target: Target;
  /** It carries the operator, or what that runs on: it was set aside until nothing else is left. */
  host?: true;
}

/** What a wave knows while it runs; of a larger one, what this part of it does. */
export class WaveState {
  /** The nodes of this workflow; what is behind them goes on in another one. */
  readonly nodes: readonly NodeRef[];
  readonly waiting: NodeRef[];
  readonly pulled: Pulled[] = [];
  /** Nodes that carry the operator, or what it runs on: one by one, when all others have ended. */
  private readonly hosts: Pulled[] = [];
  private hostInHand = false;
  readonly context;
  /** The waits that hold no node: they end when the wave stops. */
  readonly ahead = new CancellationScope();
  /** The waits for a place: they end with a pause, so that a gate's deadline does not run while nothing may start. */
  places = new CancellationScope({ cancellable: true, parent: this.ahead });
  pulling = 0;
  idle = 0;
  running = 0;
  stopped: string | undefined;
  private paused: string | undefined;
  private readonly own = new WaveEnds();
  /** How the nodes of the parts behind this one ended, once these are over. */
  private behind: { ends: WaveEnds; result: WaveResult } | undefined;
  private readonly targets: Record<string, Target>;
  private readonly input: WaveInput;
  private preceding: PrecedingPart | undefined;
  private readonly lastOfAllParts: boolean;

  constructor(input: WaveInput) {
    this.input = input;
    this.nodes = input.nodes.slice(0, input.segment);
    this.lastOfAllParts = (this.hasNext || input.goesOn !== undefined) && patched(LAST_OF_ALL_PARTS);
    this.waiting = [...this.nodes];
    this.targets = { ...input.targets };
    if (input.paused !== undefined) this.pause(input.paused);
    if (input.goesOn !== undefined) this.follow(input.goesOn.preceding);
    this.context = { cluster: input.cluster, rolloutID: input.rolloutID, request: input.request, spec: input.spec };
  }

  mayPull(): boolean {
    const ahead = this.pulling + this.pulled.length;
    return (
      this.paused === undefined &&
      this.pulling < this.input.spec.prePullAhead &&
      ahead < this.input.spec.prePullAhead + this.idle
    );
  }

  mayStart(): boolean {
    if (this.isHeldUp() || this.hostInHand) return false;
    return this.pulled.length > 0 || this.isHostsTurn();
  }

  isHeldUp(): boolean {
    return this.paused !== undefined || this.stopped !== undefined;
  }

  /** The next node that may start, or undefined. */
  next(): Pulled | undefined {
    if (!this.mayStart()) return undefined;
    return this.pulled.shift() ?? this.hosts.shift();
  }

  /**
   * Whether a node is asked whether it carries the operator: one that is alone in its wave goes at once, whatever it
   * carries. The last part of a wave may be one node, which is not alone.
   */
  get asksHosting(): boolean {
    return this.input.nodes.length > 1 || this.lastOfAllParts;
  }

  /** Keeps a node until nothing else is left to start, and nothing else is in hand. */
  setAside({ node, target }: Pulled): void {
    this.hosts.push({ node, target, host: true });
  }

  /** While it runs nothing else is started. */
  async alone<T>(run: () => Promise<T>): Promise<T> {
    this.hostInHand = true;
    try {
      return await run();
    } finally {
      this.hostInHand = false;
    }
  }

  private isHostsTurn(): boolean {
    if (this.hosts.length === 0 || this.waiting.length + this.pulling + this.pulled.length + this.running > 0)
      return false;
    if (!this.lastOfAllParts) return true;
    // The parts before this one have nothing left but such nodes when they need no place any more.
    const first = this.preceding === undefined || this.preceding.lanes >= this.input.place.budget;
    return first && (!this.hasNext || this.behind !== undefined);
  }

  /** Whether no node will become ready any more: nothing to pull, nothing pulled, nothing that may come back. */
  isOver(): boolean {
    if (this.stopped !== undefined) return true;
    return this.waiting.length + this.pulling + this.pulled.length + this.hosts.length + this.running === 0;
  }

  /**
   * Remembers what an image is; answers why the rollout must stop when the same reference now is something else. What
   * was compared before like was compared with like still holds for waves that began then.
   */
  learn(target: Target): string | undefined {
    const known = (this.targets[target.architecture] ??= target);
    const differed =
      known.version !== target.version ||
      (known.digest !== undefined && target.digest !== undefined && known.digest !== target.digest);
    const differs = isAnotherImage(known, target);
    if (!differed && !differs) return undefined;
    if (patched(PULLED_AGAIN) ? !differs : !differed) return undefined;
    return `image ${target.image} changed during the rollout: it was ${known.version} (${known.digest ?? 'no digest'}) and now is ${target.version} (${target.digest ?? 'no digest'}): name the image by its digest`;
  }

  get isPaused(): boolean {
    return this.paused !== undefined;
  }

  pause(reason: string | undefined): void {
    this.paused = reason ?? 'paused';
    this.places.cancel();
    this.show();
  }

  resume(): void {
    if (this.paused === undefined) return;
    this.paused = undefined;
    this.places = new CancellationScope({ cancellable: true, parent: this.ahead });
    this.show();
  }

  stop(why: string): void {
    if (this.stopped !== undefined) return;
    this.stopped = why;
    this.ahead.cancel();
  }

  end(result: NodeResult): void {
    const cancelled = CancellationScope.current().consideredCancelled;
    const withdrawn = result.cancelled === true && result.verdict === 'Cancelled';
    const end = this.own.add(result, withdrawn);
    // A node that was cancelled by itself past the point of no return has its verdict: no reason to stop the others.
    if (end !== undefined && result.cancelled && cancelled) this.stop('cancelled');
    if (end?.again === true && end.skipped !== true) this.fail(result, end);
    this.show();
  }

  /** How many places of the wave's budget this part may take now. */
  get lanes(): number {
    return this.preceding?.lanes ?? this.input.place.budget;
  }

  /** What the part behind this one must know. */
  forNext(): PrecedingPart {
    // Such nodes take their place when the parts behind this one are over.
    const later = this.lastOfAllParts && this.behind === undefined ? this.hosts.length : 0;
    return {
      lanes: Math.max(0, this.lanes - (this.open - later)),
      failed: (this.preceding?.failed ?? 0) + this.own.counted,
      ...(this.paused === undefined ? {} : { paused: this.paused }),
      ...(this.stopped === undefined ? {} : { stopped: this.stopped }),
    };
  }

  /** Takes what the parts before this one say. */
  follow(preceding: PrecedingPart): void {
    this.preceding = preceding;
    if (preceding.paused === undefined) this.resume();
    else if (preceding.paused !== this.paused) this.pause(preceding.paused);
    if (preceding.stopped !== undefined) this.stop(preceding.stopped);
    const exceeded = this.exceeded();
    if (exceeded !== undefined) this.stop(exceeded);
  }

  endOf(node: string): End | undefined {
    return this.all.map((ends) => ends.of(node)).find((end) => end !== undefined);
  }

  /** Nodes that failed in this wave, but for those that a person left out. */
  failedNodes(): string[] {
    return this.all.flatMap((ends) => ends.failedNodes());
  }

  /** The parts behind this one are over. */
  partsEnded(result: WaveResult): void {
    this.behind = { ends: new WaveEnds(result), result };
    if (result.stopped !== undefined) this.stop(result.stopped);
  }

  /** Takes a node that was not begun out of the queue; false when it is not there. */
  take(node: string): boolean {
    const waits = this.waiting.findIndex(({ name }) => name === node);
    if (waits >= 0) this.waiting.splice(waits, 1);
    const queues = [this.pulled, this.hosts];
    const queue = queues.find((one) => one.some((pulled) => pulled.node.name === node));
    queue?.splice(
      queue.findIndex((pulled) => pulled.node.name === node),
      1,
    );
    return waits >= 0 || queue !== undefined;
  }

  /** A node that ended is to be tried again: it is in no count of this wave any more. */
  handBack(node: string): void {
    for (const ends of this.all) ends.handBack(node);
    this.show();
  }

  /** A node that was handed back stays ended as it was after all; false where it was not handed back. */
  keepEnded(node: string): boolean {
    const kept = this.all.some((ends) => ends.keepEnded(node));
    const exceeded = kept ? this.exceeded() : undefined;
    if (exceeded !== undefined && patched(KEPT_COUNTS)) this.stop(exceeded);
    this.show();
    return kept;
  }

  isHandedBack(node: string): boolean {
    return this.all.some((ends) => ends.isHandedBack(node));
  }

  private get all(): WaveEnds[] {
    return this.behind === undefined ? [this.own] : [this.own, this.behind.ends];
  }

  /**
   * A node that somebody took out of the rollout by itself is no reason to stop, nor one that the strategy skips, but
   * for the control plane.
   */
  private fail({ node, message }: NodeResult, { verdict, counts }: End): void {
    const said = `node ${node} ended as ${verdict}: ${message}`;
    if (this.input.place.group === 'control-plane') return this.stop(said);
    const exceeded = counts ? this.exceeded() : undefined;
    if (exceeded === undefined) return;
    const first = (this.input.failures?.before ?? 0) + this.failed === 1;
    this.stop(first ? said : `${exceeded}; the last: ${said}`);
  }

  /** How many nodes count as failed, in all parts of the wave that this one hears of. */
  private get failed(): number {
    return this.forNext().failed + (this.behind?.ends.counted ?? 0);
  }

  /** Which failure budget is exceeded, or undefined. */
  private exceeded(): string | undefined {
    const { failures, spec } = this.input;
    const inWave = this.failed;
    if (failures?.wave === undefined && failures?.rollout === undefined)
      return spec.stopOnFailure ? exceededBudget({ wave: 0 }, { wave: inWave, rollout: inWave }) : undefined;
    return exceededBudget(failures, { wave: inWave, rollout: failures.before + inWave });
  }

  /** What was read inside the image so far, by architecture. */
  get knownTargets(): Record<string, Target> {
    return { ...this.targets };
  }

  /** Whether the part before this one knows why it stops. */
  get wasToldToStop(): boolean {
    return this.preceding?.stopped !== undefined;
  }

  /** Whether the wave goes on in another workflow. */
  get hasNext(): boolean {
    return this.nodes.length < this.input.nodes.length;
  }

  /** How many nodes have no end yet. */
  private get open(): number {
    return this.nodes.length - this.own.total;
  }

  /** Which nodes were not started. */
  private left(): string[] {
    const behind = this.input.nodes.slice(this.nodes.length).map(({ name }) => name);
    return [
      ...this.nodes.map(({ name }) => name).filter((name) => !this.own.knows(name)),
      ...(this.behind === undefined ? behind : (this.behind.result.left ?? [])),
    ];
  }

  /** What the wave did, with what the parts behind this one did. */
  result(): WaveResult {
    const { behind, stopped } = this;
    return {
      ...this.own.result(behind?.ends),
      untouched: this.open + (behind?.result.untouched ?? this.input.nodes.length - this.nodes.length),
      ...(this.input.request.try === undefined ? {} : { left: this.left() }),
      targets: { ...behind?.result.targets, ...this.targets },
      ...(stopped === undefined ? {} : { stopped }),
    };
  }

  private show(): void {
    const part = this.input.goesOn === undefined ? '' : `, part ${this.input.goesOn.part}`;
    setCurrentDetails(
      `wave **${this.input.name}**${part}, ${this.nodes.length} nodes\n\n${this.own.text()}${this.paused === undefined ? '' : `\n\npaused: ${this.paused}`}`,
    );
  }
}
