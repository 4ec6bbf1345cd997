import { ApplicationFailure } from '@temporalio/common';
import { CancellationScope, condition, setHandler, type ChildWorkflowHandle } from '@temporalio/workflow';
import type { NodeRef } from '../api/messages.ts';
import type { ControlAnswer, ControlState } from '../api/control-messages.ts';
import type { PlannedWave } from '../api/plan-messages.ts';
import { answerSignal } from './messages.ts';
import type { wave } from './wave.ts';

export type WaveHandle = ChildWorkflowHandle<typeof wave>;

/** The wave that runs: its handle is there once it has started. */
interface RunningWave {
  planned: PlannedWave;
  handle?: WaveHandle;
}

/** The wave that has a node, and whether its turn has come. */
interface WaveOfNode {
  planned: PlannedWave;
  node: NodeRef;
  at: 'Ahead' | 'Running' | 'Over';
}

/** Which waves a rollout has, how far it is with them, and what the one that runs answers. */
export class KnownWaves {
  private readonly state: Pick<ControlState, 'waves' | 'ended'>;
  /** Whether the rollout has ended, also where its wave never started. */
  private readonly hasEnded: () => boolean;
  private planned: PlannedWave[] | undefined;
  private current: RunningWave | undefined;
  private tokens = 0;
  private readonly answers: Record<string, ControlAnswer> = {};

  constructor(state: Pick<ControlState, 'waves' | 'ended'>, hasEnded: () => boolean) {
    this.state = state;
    this.hasEnded = hasEnded;
    setHandler(answerSignal, ({ token, ...answer }) => void (this.answers[token] ??= answer));
  }

  get arePlanned(): boolean {
    return this.planned !== undefined;
  }

  get all(): readonly PlannedWave[] {
    return this.planned ?? [];
  }

  /** All nodes of the waves that this run knows, in the order of their turn. */
  get nodes(): NodeRef[] {
    return this.all.flatMap((one) => one.nodes);
  }

  get running(): PlannedWave | undefined {
    return this.current?.planned;
  }

  knows(waves: readonly PlannedWave[]): void {
    this.planned = [...waves];
  }

  joins(...waves: readonly PlannedWave[]): void {
    this.planned?.push(...waves);
  }

  begins(planned: PlannedWave): void {
    this.current = { planned };
    this.state.waves[planned.name] = 'Running';
  }

  started(handle: WaveHandle): void {
    if (this.current !== undefined) this.current.handle = handle;
  }

  over(planned: PlannedWave): void {
    this.current = undefined;
    this.state.waves[planned.name] = 'Over';
  }

  has(name: string): boolean {
    return this.state.ended[name] !== undefined || this.nodes.some((node) => node.name === name);
  }

  /** The wave that has a node, or will have it: the last one, where it is tried again. */
  waveOf(name: string): WaveOfNode {
    for (const planned of this.all.toReversed()) {
      const node = planned.nodes.find((one) => one.name === name);
      if (node !== undefined) return { planned, node, at: this.state.waves[planned.name] ?? 'Ahead' };
    }
    // Of a wave that an earlier run of this rollout has finished.
    const before = this.state.ended[name];
    if (before !== undefined)
      return { planned: { ...before, name: 'before', nodes: [before.node] }, node: before.node, at: 'Over' };
    throw ApplicationFailure.nonRetryable(`node ${name} is not part of this rollout`, 'Refused');
  }

  /** Asks the wave that runs; undefined when it ended without an answer. */
  async ask(
    planned: PlannedWave,
    send: (handle: WaveHandle, token: string) => Promise<void>,
  ): Promise<ControlAnswer | undefined> {
    this.tokens += 1;
    const token = `${planned.name}/${this.tokens}`;
    const runs = () => this.running?.name === planned.name && !this.hasEnded();
    await CancellationScope.nonCancellable(async () => {
      await condition(() => !runs() || this.current?.handle !== undefined);
      const handle = this.current?.handle;
      if (!runs() || handle === undefined) return;
      try {
        await send(handle, token);
      } catch {
        // The wave has just ended.
      }
      await condition(() => this.answers[token] !== undefined || !runs());
    });
    const answer = this.answers[token];
    delete this.answers[token];
    return answer;
  }
}
