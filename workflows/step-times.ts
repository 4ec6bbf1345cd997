import type { NodeInHand } from '../api/messages.ts';
import type { Step } from '../api/types.ts';

/** Notes when a step of a node begins: the times go to its KairosNode, where they outlive this workflow. */
export function beginStep(hand: NodeInHand, step: Step): void {
  const before = (hand.steps ?? []).filter((known) => known.step !== step);
  hand.steps = [...before, { step, startedAt: new Date().toISOString() }];
}
