import { CancellationScope, patched, setCurrentDetails } from '@temporalio/workflow';
import type { NodeRef, NodeResult, Target, WaveInput, WaveResult } from '../api/messages.ts';
import type { Verdict } from '../api/types.ts';
import { isAnotherImage } from '../policy/image-identity.ts';

/** Since when an image that differs is pulled once more, from the registry, before it is called moved. */
export const PULLED_AGAIN = 'image-pulled-again';

/** A node on which the image is, with what was read inside it. */
export interface Pulled {
  node: NodeRef;
  target: Target;
}

/** What a wave knows while it runs. */
export class WaveState {
  readonly waiting: NodeRef[];
  readonly pulled: Pulled[] = [];
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
  private readonly skipped: string[] = [];
  private readonly again: WaveResult['failed'] = [];
  /** How each node ended. `again`: it may be tried again when a person asks for that. */
  private readonly ends = new Map<string, { verdict: Verdict; message: string; again: boolean }>();
  private readonly targets: Record<string, Target>;
  private readonly input: WaveInput;

  constructor(input: WaveInput) {
    this.input = input;
    this.waiting = [...input.nodes];
    this.targets = { ...input.targets };
    if (input.paused !== undefined) this.pause(input.paused);
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
    return this.pulled.length > 0 && this.paused === undefined && this.stopped === undefined;
  }

  /** Whether no node will become ready any more: nothing to pull, nothing pulled, nothing that may come back. */
  isOver(): boolean {
    if (this.stopped !== undefined) return true;
    return this.waiting.length + this.pulling + this.pulled.length + this.running === 0;
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
    const failed = !withdrawn && verdict !== 'Succeeded' && verdict !== 'AlreadyOnTarget';
    this.ends.set(result.node, { verdict, message: result.message.slice(0, 500), again: failed });
    if (failed && result.skipped !== true) this.fail(result, verdict);
    this.show();
  }

  endOf(node: string): { verdict: Verdict; message: string; again: boolean } | undefined {
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
    const pulled = this.pulled.findIndex((one) => one.node.name === node);
    if (pulled >= 0) this.pulled.splice(pulled, 1);
    return waits >= 0 || pulled >= 0;
  }

  /** A node that ended is to be tried again: it is in no count of this wave any more. */
  handBack(node: string): void {
    const ended = this.ends.get(node);
    if (ended === undefined) return;
    this.ends.delete(node);
    const left = (this.verdicts[ended.verdict] ?? 1) - 1;
    if (left === 0) delete this.verdicts[ended.verdict];
    else this.verdicts[ended.verdict] = left;
    const failure = this.failures.findIndex(({ name }) => name === node);
    if (failure >= 0) this.failures.splice(failure, 1);
    const skipped = this.skipped.indexOf(node);
    if (skipped >= 0) this.skipped.splice(skipped, 1);
    this.again.push({ name: node, verdict: ended.verdict, message: ended.message });
    this.show();
  }

  /** A node that was handed back stays ended as it was after all; false where it was not handed back. */
  keepEnded(node: string): boolean {
    const index = this.again.findIndex(({ name }) => name === node);
    const [ended] = index < 0 ? [] : this.again.splice(index, 1);
    if (ended === undefined) return false;
    this.ends.set(node, { ...ended, again: true });
    this.verdicts[ended.verdict] = (this.verdicts[ended.verdict] ?? 0) + 1;
    if (this.failures.length < 100) this.failures.push(ended);
    return true;
  }

  isHandedBack(node: string): boolean {
    return this.again.some(({ name }) => name === node);
  }

  /**
   * A node that somebody took out of the rollout by itself is no reason to stop, nor one that the strategy skips, but
   * for the control plane.
   */
  private fail(result: NodeResult, verdict: Verdict): void {
    if (this.failures.length < 100) this.failures.push({ name: result.node, verdict, message: result.message });
    const stops = this.input.spec.stopOnFailure && verdict !== 'Cancelled' && result.tolerated !== true;
    if (stops || this.input.place.group === 'control-plane')
      this.stop(`node ${result.node} ended as ${verdict}: ${result.message}`);
  }

  /** Which nodes were not started. */
  private left(): string[] {
    return this.input.nodes
      .map(({ name }) => name)
      .filter((name) => !this.ends.has(name) && !this.gone.includes(name) && !this.isHandedBack(name));
  }

  result(): WaveResult {
    const ended = Object.values(this.verdicts).reduce((sum, count) => sum + count, 0);
    return {
      verdicts: this.verdicts,
      failed: this.failures,
      untouched: this.input.nodes.length - ended - this.gone.length - this.again.length,
      ...(this.gone.length === 0 ? {} : { gone: this.gone }),
      ...(this.skipped.length === 0 ? {} : { skipped: this.skipped }),
      ...(this.again.length === 0 ? {} : { again: this.again }),
      ...(this.input.request.try === undefined ? {} : { left: this.left() }),
      targets: this.targets,
      ...(this.stopped === undefined ? {} : { stopped: this.stopped }),
    };
  }

  private show(): void {
    const done = Object.entries(this.verdicts).map(([verdict, count]) => `${verdict}: ${count}`);
    if (this.gone.length > 0) done.push(`gone: ${this.gone.length}`);
    setCurrentDetails(
      `wave **${this.input.name}**, ${this.input.nodes.length} nodes\n\n${done.join(', ')}${this.paused === undefined ? '' : `\n\npaused: ${this.paused}`}`,
    );
  }
}
