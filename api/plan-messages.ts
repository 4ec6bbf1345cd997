/** What a rollout has before it, as it is kept in histories. Plain JSON, as everything in api/messages.ts. */
import type { NodeRef, Place } from './node-ref.ts';
import type { RiskEffect, RiskReason } from './types.ts';

export interface Plan {
  /** Both groups are empty where the waves name their nodes. */
  controlPlane: NodeRef[];
  workers: NodeRef[];
  /** Nodes that were selected but are left alone, and why. */
  leftAlone: { name: string; reason: string }[];
  /** maxUnavailable of the workers, as a number of nodes. */
  maxUnavailable: number;
  /** In their order; together all nodes of the plan. Absent in histories of earlier versions: the two groups. */
  waves?: PlannedWave[];
  /** How many of its nodes may fail before no further one is started, all waves together. Absent: each wave says it. */
  maxFailed?: number;
  /** What a person should know of the control plane, such as a quorum that cannot be kept. */
  warning?: string;
  /** What was seen of all of it before anything was touched. Absent in histories of earlier versions. */
  report?: PlanReport;
}

/** Nodes that are left to upgrade at the end of a rollout, in the order of their turn; some of them may have joined since. */
export interface JoinedNodes {
  controlPlane: NodeRef[];
  workers: NodeRef[];
}

/** A risk of a plan; `effect` and `reason` as in `status.plan`, which docs/plan.md describes. */
export interface PlanRisk {
  effect: RiskEffect;
  reason: RiskReason;
  /** Of nodes or pods. */
  count: number;
  message: string;
}

/** A node of a plan, in the order of its turn. */
export interface PlanRow {
  name: string;
  wave: string;
  from?: string;
  /** Why its turn would not end with the target, or what it waits for; absent: nothing is in its way. */
  note?: string;
}

/** What a plan does and may meet. Bounded: it is kept in the history of the rollout. */
export interface PlanReport {
  /** RFC 3339. */
  plannedAt: string;
  image: string;
  version?: string;
  /** How the version is known, or when it will be read. */
  versionFrom: string;
  refused?: string;
  total: number;
  /** How many of them anything would be done to. Absent in histories of earlier versions. */
  touched?: number;
  waves: {
    name: string;
    group: Place['group'];
    nodes: number;
    maxUnavailable: number;
    soakMs?: number;
    approval?: true;
  }[];
  /** The first 200. */
  nodes: PlanRow[];
  /** The first 20, and how many there are. */
  leftAlone: { name: string; reason: string }[];
  leftAloneCount: number;
  /** The 30 worst, and how many there are. */
  risks: PlanRisk[];
  riskCount: number;
  duration?: { typicalMs: number; longMs: number; upgrades: number };
}

/** A group of nodes that are upgraded under one budget. */
export interface PlannedWave {
  /** Unique in the plan; part of the wave's workflow id. */
  name: string;
  group: Place['group'];
  /** In the order in which they are started. */
  nodes: NodeRef[];
  /** How many of them may be out at once. */
  budget: number;
  /** How long all of its nodes must stay Ready without a break after it, before anything else is started. Absent: not at all. */
  soakMs?: number;
  /** It starts only when a person approves it. */
  approval?: true;
  /** How many of its nodes may fail before no further one is started. Absent: as the rollout says. */
  maxFailed?: number;
  /** After so many nodes it goes on in a workflow of its own. Absent: it is one. */
  segment?: number;
  /** Its nodes are tried again, for the so-manieth time in this attempt. */
  try?: number;
}
