/** A NodeOpUpgrade as a rollout carries it along, with all defaults resolved and durations in milliseconds. Plain JSON, as everything in api/messages.ts. */
import type { DrainRung, HealthGate, LabelSelector, Misfit } from './types.ts';

/** A wave as it was asked for, with durations in milliseconds. Without `nodes` and `nodeSelector` it takes all that are left. */
export interface WaveSpec {
  name: string;
  nodes?: number | string;
  nodeSelector?: LabelSelector;
  maxUnavailable?: number | string;
  soakMs?: number;
  approval?: true;
  maxFailed?: number | string;
}

/** A maintenance window: when it opens, by the clock of a time zone, and for how long. */
export interface WindowSpec {
  cron: string;
  durationMs: number;
  timeZone: string;
}

/** A health gate with its times in milliseconds; it asks one of the four things. */
export interface HealthGateSpec extends Pick<HealthGate, 'name' | 'nodes' | 'workloads' | 'field' | 'prometheus'> {
  /** Absent: the deadline of the gates. */
  timeoutMs?: number;
  intervalMs: number;
}

/** How pods are moved off a node, with all defaults resolved. */
export interface DrainSpec {
  /** Whether pods without a controller are evicted. */
  force: boolean;
  /** Absent: that of each pod. */
  gracePeriodSeconds?: number;
  /** Absent: every pod. */
  podSelector?: LabelSelector;
  /** Absent: every pod is waited for. */
  skipWaitForDeleteMs?: number;
  /** 0: volumes are not waited for. */
  volumeDetachMs: number;
  /** Pods that end by themselves; without a selector those of Jobs. The time counts from the beginning of the drain. */
  completion?: { podSelector?: LabelSelector; timeoutMs: number };
  onTimeout: DrainRung;
  /** Which budgets a deletion may go past; none listed: all. */
  overridableBudgets: { namespace: string; name: string }[];
  /** Absent: never. */
  forceDeleteAfterMs?: number;
}

/** A NodeOpUpgrade with all defaults resolved. */
export interface RolloutSpec {
  image: string;
  nodeSelector?: LabelSelector;
  /** Names of the nodes, where the request names them itself (hand-edited KairosNodes). */
  nodeNames?: string[];
  imagePullSecrets: string[];
  maxUnavailable: number | string;
  stopOnFailure: boolean;
  /** The waves of the workers as they were asked for; absent: the default ones, or a history of before they were there. */
  waves?: WaveSpec[];
  /** How long the canary that comes first by default soaks. Absent in histories of before it was there. */
  canarySoakMs?: number;
  /** How many nodes of the plan may fail. Absent: none, or with `stopOnFailure: false` any. */
  maxFailed?: number | string;
  /** When nodes may be started; absent: at any time. */
  windows?: WindowSpec[];
  /** What must be well before each node and after each wave; absent: nothing. */
  healthGates?: HealthGateSpec[];
  upgradeActive: boolean;
  upgradeRecovery: boolean;
  force: boolean;
  debug: boolean;
  uncordonOnFailure?: boolean;
  /** What of node and image may differ although it is a misfit. Absent: nothing. */
  allowMisfit?: Misfit[];
  excludePaths: string[];
  soakMs: number;
  /** What must hold of the node's pods while it soaks; absent in histories of earlier versions: the defaults. */
  soakChecks?: { daemonSets: boolean; maxRestarts: number; timeoutMs: number; ignorePods?: LabelSelector };
  prePullTimeoutMs: number;
  prePullAhead: number;
  /** Pulls begin only while a window is open; absent: at any time. */
  prePullWhen?: 'WindowOpen';
  drainTimeoutMs: number;
  deleteEmptyDirData: boolean;
  /** Absent in histories of before it was there: read with `drainOf`. */
  drain?: DrainSpec;
  rebootTimeoutMs: number;
  gateTimeoutMs: number;
  /** One worker before the control plane; absent: none. */
  canaryWorkerFirst?: true;
  /** Nodes that join later are upgraded, too; absent: they are left alone. */
  newNodes?: 'Upgrade';
  /** It ends when it has planned; no node is touched. */
  dryRun?: true;
  /** Why it cannot be carried out: what it names does not go with the defaults of the installation. The plan refuses. */
  refused?: string;
}
