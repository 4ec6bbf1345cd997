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
/** Characters of what it says of each. */
const LONGEST_MESSAGE = 900;

/** A node on which the image is, with what was read inside it. */
export interface Pulled {
  node: NodeRef;
  target: Target;
  /** It carries the operator, or what that runs on: it was set aside until nothing else is left. */
  host?: true;
}

/** How a node ended. `again`: it may be tried again when a person asks for that. `counts`: in the failure budget. */
interface End {
  verdict: Verdict;
  message: string;
  again: boolean;
  counts: boolean;
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
  private readonly skipped: string[] = [];
  private readonly again: WaveResult['failed'] = [];
  /** Of nodes that were handed back, those that a person had left out: no failures if they are not tried again. */
  private readonly leftOutBefore = new Set<string>();
  private readonly ends = new Map<string, End>();
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
    if (result.skipped === true) this.skipped.push(result.node);
    // A node that was cancelled by itself past the point of no return has its verdict: no reason to stop the others.
    if (result.cancelled && CancellationScope.current().consideredCancelled) this.stop('cancelled');
    const withdrawn = result.cancelled === true && verdict === 'Cancelled';
    const superseded = result.supersededBy !== undefined;
    const failed = !superseded && !withdrawn && verdict !== 'Succeeded' && verdict !== 'AlreadyOnTarget';
    const counts = failed && result.skipped !== true && countsAsFailed(tolerance(result, verdict));
    this.ends.set(result.node, { verdict, message: result.message.slice(0, 500), again: failed, counts });
    if (result.supersededBy !== undefined) this.leave(result.node, result.supersededBy);
    else if (failed && result.skipped !== true) this.fail(result, verdict, counts);
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

  endOf(node: string): End | undefined {
    return this.ends.get(node);
  }

  /** Nodes that failed in this wave, but for those that a person left out. */
  failedNodes(): string[] {
    return [...this.ends].filter(([node, { again }]) => again && !this.skipped.includes(node)).map(([node]) => node);
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
    const ended = this.ends.get(node);
    if (ended === undefined) return;
    this.ends.delete(node);
    if (ended.counts) this.counted -= 1;
    const left = (this.verdicts[ended.verdict] ?? 1) - 1;
    if (left === 0) delete this.verdicts[ended.verdict];
    else this.verdicts[ended.verdict] = left;
    const failure = this.failures.findIndex(({ name }) => name === node);
    if (failure >= 0) this.failures.splice(failure, 1);
    const skipped = this.skipped.indexOf(node);
    if (skipped >= 0) {
      this.skipped.splice(skipped, 1);
      this.leftOutBefore.add(node);
    }
    const { verdict, message, counts } = ended;
    this.again.push({ name: node, verdict, message, ...(counts ? {} : { tolerated: true }) });
    this.show();
  }

  /** A node that was handed back stays ended as it was after all; false where it was not handed back. */
  keepEnded(node: string): boolean {
    const index = this.again.findIndex(({ name }) => name === node);
    const [ended] = index < 0 ? [] : this.again.splice(index, 1);
    if (ended === undefined) return false;
    const counts = countsAsFailed(ended);
    this.ends.set(node, { ...ended, again: true, counts });
    if (counts) this.counted += 1;
    this.verdicts[ended.verdict] = (this.verdicts[ended.verdict] ?? 0) + 1;
    if (this.leftOutBefore.has(node)) this.skipped.push(node);
    else if (this.failures.length < LISTED) this.failures.push(ended);
    const exceeded = counts ? this.exceeded() : undefined;
    if (exceeded !== undefined) this.stop(exceeded);
    return true;
  }

  isHandedBack(node: string): boolean {
    return this.again.some(({ name }) => name === node);
  }

  /**
   * A node that somebody took out of the rollout by itself is no reason to stop, nor one that the strategy skips, but
   * for the control plane.
   */
  private fail(result: NodeResult, verdict: Verdict, counts: boolean): void {
    const { node: name, message } = result;
    if (this.failures.length < LISTED)
      this.failures.push({
        name,
        verdict,
        message: message.slice(0, LONGEST_MESSAGE),
        ...(counts ? {} : { tolerated: true }),
      });
    if (counts) this.counted += 1;
    const said = `node ${name} ended as ${verdict}: ${message}`;
    if (this.input.place.group === 'control-plane') return this.stop(said);
    const exceeded = counts ? this.exceeded() : undefined;
    if (exceeded === undefined) return;
    const first = (this.input.failures?.before ?? 0) + this.forNext().failed === 1;
    this.stop(first ? said : `${exceeded}; the last: ${said}`);
  }

  /** Which nodes were not started. */
  private left(): string[] {
    return this.nodes
      .map(({ name }) => name)
      .filter((name) => !this.ends.has(name) && !this.gone.includes(name) && !this.isHandedBack(name));
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
    return this.nodes.length - this.ended - this.gone.length - this.again.length;
  }

  private get ended(): number {
    return Object.values(this.verdicts).reduce((sum, count) => sum + count, 0);
  }

  /** What the wave did; `next`: what the part behind this one did. */
  result(next?: WaveResult): WaveResult {
    const stopped = this.stopped ?? next?.stopped;
    return {
      verdicts: sumOf(this.verdicts, next?.verdicts),
      failed: [...this.failures, ...(next?.failed ?? [])].slice(0, LISTED),
      counted: this.counted + (next?.counted ?? 0),
      untouched: this.open + (next?.untouched ?? this.input.nodes.length - this.nodes.length),
      ...listed('gone', this.gone, next?.gone),
      ...listed('superseded', this.superseded, next?.superseded?.slice(0, LISTED - this.superseded.length)),
      ...listed('skipped', this.skipped, next?.skipped),
      ...listed('again', this.again, next?.again),
      ...(this.input.request.try === undefined ? {} : { left: this.left() }),
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

const tolerance = ({ tolerated }: NodeResult, verdict: Verdict) => ({
  verdict,
  ...(tolerated === undefined ? {} : { tolerated }),
});

function sumOf(own: Readonly<Record<string, number>>, next: Readonly<Record<string, number>> = {}) {
  const sum = { ...own };
  for (const [verdict, count] of Object.entries(next)) sum[verdict] = (sum[verdict] ?? 0) + count;
  return sum;
}

/** A list of a result, which is absent where it is empty. */
function listed<K extends string, T>(name: K, own: readonly T[], next: readonly T[] = []): { [key in K]?: T[] } {
  const all = [...own, ...next];
  return (all.length === 0 ? {} : { [name]: all }) as { [key in K]?: T[] };
}
