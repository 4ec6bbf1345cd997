import { CancellationScope, type ChildWorkflowHandle } from '@temporalio/workflow';
import type { Asked } from '../api/control-messages.ts';
import type { wave } from './wave.ts';

type Part = ChildWorkflowHandle<typeof wave>;

/**
 * The workflow in which a large wave goes on, for what is asked of its nodes: whatever is asked while it starts is told
 * to it once it is there, and what comes too late for it is asked again of the part before it, which knows then how it
 * ended.
 */
export class NextPart {
  /** Nodes that are to be left out there, as long as it has not begun. */
  readonly skips = new Map<string, Asked>();
  hasBegun = false;
  isOver = false;
  private part: Part | undefined;
  private readonly forIt: ((part: Part) => void)[] = [];
  private readonly afterIt: (() => void)[] = [];

  get isOpen(): boolean {
    return this.hasBegun && !this.isOver;
  }

  /** It is being started; answers which of its nodes are to be left out. */
  starts(): Record<string, Asked> {
    this.hasBegun = true;
    return Object.fromEntries(this.skips);
  }

  started(part: Part): void {
    this.part = part;
    for (const tell of this.forIt.splice(0)) tell(part);
  }

  /** It is over, and what it did is known. */
  ended(): void {
    this.isOver = true;
    for (const act of this.afterIt.splice(0)) act();
  }

  /** Tells it something; `tooLate`: what is done where it has ended before it heard of that. */
  tell(send: (part: Part) => Promise<void>, tooLate: () => void): void {
    const tell = (part: Part) =>
      void quietly(() => send(part)).then((heard) => {
        if (heard) return;
        if (this.isOver) tooLate();
        else this.afterIt.push(tooLate);
      });
    if (this.part === undefined) this.forIt.push(tell);
    else tell(this.part);
  }
}

/** Whoever it is for may have closed: false then, and nobody waits for it. */
export async function quietly(send: () => Promise<void>): Promise<boolean> {
  try {
    await CancellationScope.nonCancellable(send);
    return true;
  } catch {
    // Closed: what it was asked is answered by how it ended.
    return false;
  }
}
