import { CancellationScope, patched, setCurrentDetails } from '@temporalio/workflow';
import type {
  NodeRef,
  NodeResult,
  PrecedingPart,
  SupersededNode,
  Target,
  WaveInput,
  WaveResult,
} from '../api/messages.ts';
import type { Verdict } from '../api/types.ts';
import { countsAsFailed, exceededBudget } from '../policy/failure-budget.ts';
import { isAnotherImage } from '../policy/image-identity.ts';

/** Since when an image that differs is pulled once more, from the registry, before it is called moved. */
export const PULLED_AGAIN = 'image-pulled-again';

/** How many failed nodes a result names. */
const LISTED = 100;

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
  private readonly verdicts: Record<string, number> = {};
  private readonly failures: WaveResult['failed'] = [];
  private readonly gone: string[] = [];
  private readonly superseded: SupersededNode[] = [];
  private readonly targets: Record<string, Target>;
  private readonly input: WaveInput;
  private preceding: PrecedingPart | undefined;
  private counted = 0;

  constructor(input: WaveInput) {
    this.input = input;
    this.nodes = input.nodes.slice(0, input.segment);
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
    return this.hosts.length > 0 && this.waiting.length + this.pulling + this.pulled.length + this.running === 0;
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
    const verdict: Verdict = result.verdict ?? 'Unverified';
    if (result.gone === true) {
      // Nothing was done to it, so it is no failure of the image, and no reason to stop the others.
      this.gone.push(result.node);
      this.show();
      return;
    }
    this.verdicts[verdict] = (this.verdicts[verdict] ?? 0) + 1;
    // A node that was cancelled by itself past the point of no return has its verdict: no reason to stop the others.
    if (result.cancelled && CancellationScope.current().consideredCancelled) this.stop('cancelled');
    const withdrawn = result.cancelled === true && verdict === 'Cancelled';
    if (result.supersededBy !== undefined) this.leave(result.node, result.supersededBy);
    else if (!withdrawn && verdict !== 'Succeeded' && verdict !== 'AlreadyOnTarget') this.fail(result, verdict);
    this.show();
  }

  /** How many places of the wave's budget this part may take now. */
  get lanes(): number {
    return this.preceding?.lanes ?? this.input.place.budget;
  }

  /** What the part behind this one must know. */
  forNext(): PrecedingPart {
    return {
      lanes: Math.max(0, this.lanes - this.open),
      failed: (this.preceding?.failed ?? 0) + this.counted,
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

  /**
   * A node that somebody took out of the rollout by itself is no reason to stop, nor one that the strategy skips, but
   * for the control plane.
   */
  private fail(result: NodeResult, verdict: Verdict): void {
    if (this.failures.length < LISTED) this.failures.push({ name: result.node, verdict, message: result.message });
    const counts = countsAsFailed({ verdict, ...(result.tolerated === undefined ? {} : { tolerated: true }) });
    if (counts) this.counted += 1;
    const said = `node ${result.node} ended as ${verdict}: ${result.message}`;
    if (this.input.place.group === 'control-plane') return this.stop(said);
    const exceeded = counts ? this.exceeded() : undefined;
    if (exceeded === undefined) return;
    const first = (this.input.failures?.before ?? 0) + this.forNext().failed === 1;
    this.stop(first ? said : `${exceeded}; the last: ${said}`);
  }

  /** A node that a newer NodeOpUpgrade wants: no failure, of the control plane neither. */
  private leave(name: string, by: string): void {
    if (this.superseded.length < LISTED) this.superseded.push({ name, by });
  }

  /** Which failure budget is exceeded, or undefined. */
  private exceeded(): string | undefined {
    const { failures, spec } = this.input;
    const inWave = this.forNext().failed;
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

  /** How many nodes have no end yet. */
  private get open(): number {
    return this.nodes.length - this.ended - this.gone.length;
  }

  private get ended(): number {
    return Object.values(this.verdicts).reduce((sum, count) => sum + count, 0);
  }

  /** What the wave did; `next`: what the part behind this one did. */
  result(next?: WaveResult): WaveResult {
    const verdicts = { ...this.verdicts };
    for (const [verdict, count] of Object.entries(next?.verdicts ?? {}))
      verdicts[verdict] = (verdicts[verdict] ?? 0) + count;
    const gone = [...this.gone, ...(next?.gone ?? [])];
    const superseded = [...this.superseded, ...(next?.superseded ?? [])].slice(0, LISTED);
    const stopped = this.stopped ?? next?.stopped;
    return {
      verdicts,
      failed: [...this.failures, ...(next?.failed ?? [])].slice(0, LISTED),
      counted: this.counted + (next?.counted ?? 0),
      untouched: this.open + (next?.untouched ?? this.input.nodes.length - this.nodes.length),
      ...(gone.length === 0 ? {} : { gone }),
      ...(superseded.length === 0 ? {} : { superseded }),
      targets: { ...next?.targets, ...this.targets },
      ...(stopped === undefined ? {} : { stopped }),
    };
  }

  private show(): void {
    const done = Object.entries(this.verdicts).map(([verdict, count]) => `${verdict}: ${count}`);
    if (this.gone.length > 0) done.push(`gone: ${this.gone.length}`);
    const part = this.input.goesOn === undefined ? '' : `, part ${this.input.goesOn.part}`;
    setCurrentDetails(
      `wave **${this.input.name}**${part}, ${this.nodes.length} nodes\n\n${done.join(', ')}${this.paused === undefined ? '' : `\n\npaused: ${this.paused}`}`,
    );
  }
}
