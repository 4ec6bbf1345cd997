import type { RolloutMemo } from '../../api/messages.ts';
import type { NodeOpUpgrade, RolloutPhase, RolloutStatus } from '../../api/types.ts';
import type { EngineDecision, EngineState } from '../../policy/engine.ts';

export const status = (phase: RolloutPhase, generation: number, attempt = 1): RolloutStatus => ({
  workflowID: 'rollout/x',
  generation,
  attempt,
  phase,
});
export const upgrade = (rollout?: RolloutStatus, metadata: Partial<NodeOpUpgrade['metadata']> = {}): NodeOpUpgrade => ({
  apiVersion: 'operator.kairos.io/v1alpha1',
  kind: 'NodeOpUpgrade',
  metadata: { name: 'v4', namespace: 'fleet', uid: 'uid-1', generation: 2, ...metadata },
  spec: { image: 'quay.io/kairos/hadron:v4.0.3' },
  ...(rollout === undefined ? {} : { status: { rollout } }),
});
export const memo = (more: Partial<RolloutMemo> = {}): RolloutMemo => ({
  uid: 'uid-1',
  generation: 2,
  attempt: 1,
  ...more,
});
export const NOT_FOUND: EngineState = { state: 'NotFound' };
export const NOTHING: EngineDecision = { action: 'nothing' };
