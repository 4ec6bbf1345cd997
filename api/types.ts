/**
 * The domain types that all rooms share. Inferred from the zod schemas, of which nothing is imported at run time:
 * the workflow bundle and the agent hold no zod.
 */
import type { z } from 'zod';
import type {
  BOOT_STATES,
  STEPS,
  VERDICTS,
  kairosNodeAgentStatus,
  kairosNodeOperatorStatus,
  kairosNodeSpec,
  kairosNodeStatus,
} from './schemas/kairos-node.ts';
import type { nodeOpUpgradeSpec, nodeOpUpgradeStatus, rolloutStatus } from './schemas/node-op-upgrade.ts';
import type { RISK_EFFECTS, RISK_REASONS, planStatus } from './schemas/plan.ts';
import type { ROLLOUT_PHASES } from './schemas/rollout-phase.ts';
import type { MISFITS } from './schemas/strategy.ts';
import type { blocker, drainRecord, BLOCKER_REASONS, DRAIN_RUNGS } from './schemas/drain.ts';
import type { labelSelector } from './schemas/label-selector.ts';
import type { condition } from './schemas/meta.ts';

export type Verdict = (typeof VERDICTS)[number];
export type Step = (typeof STEPS)[number];
export type BootState = (typeof BOOT_STATES)[number];
export type Misfit = (typeof MISFITS)[number];
export type RolloutPhase = (typeof ROLLOUT_PHASES)[number];
export type Condition = z.infer<typeof condition>;
export type LabelSelector = z.infer<typeof labelSelector>;
export type DrainRung = (typeof DRAIN_RUNGS)[number];
export type BlockerReason = (typeof BLOCKER_REASONS)[number];
export type Blocker = z.infer<typeof blocker>;
export type DrainRecord = z.infer<typeof drainRecord>;

export type KairosNodeSpec = z.infer<typeof kairosNodeSpec>;
/** The fields of a KairosNode's status that its agent owns. */
export type KairosNodeAgentStatus = z.infer<typeof kairosNodeAgentStatus>;
/** The fields of a KairosNode's status that the operator owns. */
export type KairosNodeOperatorStatus = z.infer<typeof kairosNodeOperatorStatus>;
export type KairosNodeStatus = z.infer<typeof kairosNodeStatus>;
/** How the writing of one image ended. */
export type WriteRecord = NonNullable<NonNullable<KairosNodeStatus['lastAttempt']>['writes']>[number];

/** What the verdict of an attempt was given on. */
export type AttemptEvidence = NonNullable<NonNullable<KairosNodeStatus['lastAttempt']>['evidence']>;
/** When the steps of an attempt began. */
export type StepTimes = NonNullable<NonNullable<KairosNodeStatus['lastAttempt']>['steps']>;

export type NodeOpUpgradeSpec = z.infer<typeof nodeOpUpgradeSpec>;
export type Strategy = NonNullable<NodeOpUpgradeSpec['strategy']>;
export type HealthGate = NonNullable<Strategy['healthGates']>[number];
export type NodeOpUpgradeStatus = z.infer<typeof nodeOpUpgradeStatus>;
export type RolloutStatus = z.infer<typeof rolloutStatus>;
export type PlanStatus = z.infer<typeof planStatus>;
export type RiskEffect = (typeof RISK_EFFECTS)[number];
export type RiskReason = (typeof RISK_REASONS)[number];
/** An attempt that has ended, as the resource remembers it. */
export type PastAttempt = NonNullable<NodeOpUpgradeStatus['history']>[number];
export type CurrentWave = NonNullable<NodeOpUpgradeStatus['wave']>;
export type Eta = NonNullable<NodeOpUpgradeStatus['eta']>;
export type NodeStatusEntry = NonNullable<NodeOpUpgradeStatus['nodeStatuses']>[string];

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface KairosNode {
  apiVersion: 'kairos.io/v1alpha1';
  kind: 'KairosNode';
  metadata: ObjectMeta;
  spec?: KairosNodeSpec;
  status?: KairosNodeStatus;
}

export interface NodeOpUpgrade {
  apiVersion: 'operator.kairos.io/v1alpha1';
  kind: 'NodeOpUpgrade';
  metadata: ObjectMeta;
  spec: NodeOpUpgradeSpec;
  status?: NodeOpUpgradeStatus;
}
