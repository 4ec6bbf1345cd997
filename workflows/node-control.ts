import { CancellationScope, getExternalWorkflowHandle, setHandler } from '@temporalio/workflow';
import type { NodeUpgradeInput } from '../api/messages.ts';
import type { Asked } from '../api/control-messages.ts';
import { answerSignal, withdrawSignal } from './messages.ts';

/**
 * Runs something in a scope, and gives its very promise: what waits for it is woken in the same turn as without the
 * scope, so that histories of before the scope was there still replay.
 */
export function within<T>(scope: CancellationScope, run: () => Promise<T>): Promise<T> {
  const begun: Promise<T>[] = [];
  void scope.run(() => {
    begun.push(run());
    return Promise.resolve();
  });
  return begun[0] as Promise<T>;
}

/** What its rollout may still ask of a node that is in hand. */
export class NodeControl {
  /** What can be taken back: everything before the point of no return. */
  readonly scope = new CancellationScope();
  private paused = false;
  /** A person leaves the node out. */
  skip: Asked | undefined;
  private past: string | undefined;
  private readonly input: NodeUpgradeInput;

  constructor(input: NodeUpgradeInput) {
    this.input = input;
    setHandler(withdrawSignal, ({ rolloutID, skip, pause }) => {
      // Another rollout asked for this node while this one has it.
      if (rolloutID !== input.rolloutID) return;
      if (pause === true) this.paused = true;
      if (skip !== undefined) void this.leaveOut(skip);
    });
  }

  /** Whether a pause came, which counts until the node is cordoned; whoever gives the node up is heard before. */
  isHeldBack(): boolean {
    return this.paused && !this.scope.consideredCancelled;
  }

  /** From here on the node is taken to its verdict. */
  passPoint(why: string): void {
    this.past = why;
  }

  private async leaveOut({ token, asked }: { token: string; asked: Asked }): Promise<void> {
    if (this.past === undefined) {
      this.skip = asked;
      this.scope.cancel();
      return;
    }
    const message = `node ${this.input.node.name} is past the point of no return (${this.past}): it is taken to its verdict`;
    try {
      await CancellationScope.nonCancellable(() =>
        getExternalWorkflowHandle(this.input.rolloutID).signal(answerSignal, { token, accepted: false, message }),
      );
    } catch {
      // The rollout is gone, and with it whoever waited for an answer.
    }
  }
}
