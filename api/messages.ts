/**
 * What workflows, activities and the watcher say to each other. Plain JSON only: these objects are stored in
 * histories, so a field may be added (optional) but never renamed or removed once a history has been released.
 */
import type { RolloutSpec } from './rollout-spec.ts';
import type { Asked, ControlState } from './control-messages.ts';
import type { NodeRef, Place } from './node-ref.ts';
import type { Plan } from './plan-messages.ts';
import type { AttemptEvidence, DrainRecord, RolloutPhase, StepTimes, Verdict, WriteRecord } from './types.ts';

export type { NodeRef, Place } from './node-ref.ts';

/** A cluster, by the UID of its kube-system namespace; `id` is for ids and display. */
export interface ClusterRef {
  uid: string;
  id: string;
}

/** Deadlines of the engine itself. Workflows hold no duration literal: they take these. */
export interface Timing {
  /** Start-to-close of one short call (the deadline of the API call plus a margin). */
  callMs: number;
  /** Longest single attempt of an activity that waits; it is renewed by the next attempt. */
  waitAttemptMs: number;
  heartbeatMs: number;
  retryInitialMs: number;
  retryMaximumMs: number;
  workflowTaskMs: number;
  /**
   * After how many events of its history a rollout goes on in another run, between two waves. Absent in histories of
   * earlier versions: never.
   */
  continueAfterEvents?: number;
  /** Whether Temporal knows our search attributes; without them everything works, only the lists are less handy. */
  searchAttributes: boolean;
}

/** Which resource asked for a rollout, and which state of it. */
export interface RolloutRequest {
  kind: 'NodeOpUpgrade' | 'KairosNode';
  /** Namespace and name of the NodeOpUpgrade; for hand-edited KairosNodes the operator's namespace and the image. */
  namespace: string;
  name: string;
  /** UID of the NodeOpUpgrade; empty for hand-edited KairosNodes. */
  uid: string;
  generation: number;
  attempt: number;
  /** The value of the annotation `kairos.io/retry` that this attempt answers. */
  retry?: string;
  /** Which try of a node within the attempt this is, where a person asked for another one; absent: the first. */
  try?: number | undefined;
}

export interface RolloutInput {
  cluster: ClusterRef;
  request: RolloutRequest;
  spec: RolloutSpec;
  timing: Timing;
  /** Why it starts paused, by the annotation `kairos.io/pause`, and which field manager wrote that. */
  paused?: string;
  pausedBy?: string;
  /** Of a rollout that goes on in another run of its workflow: where the one before left off. */
  carried?: CarriedRollout;
  /** What was asked of that run. */
  control?: ControlState;
}

/** What a rollout hands over between two waves when its history has become long: nothing is in flight then. */
export interface CarriedRollout {
  /** With the waves that are left. */
  plan: Plan;
  /** Of the wave that ended last. */
  group: Place['group'];
  total: number;
  verdicts: Record<string, number>;
  failed: FailedNode[];
  /** How many nodes count as failed. */
  counted: number;
  gone: string[];
  superseded?: SupersededNode[];
  targets: Record<string, Target>;
  wave?: string;
  /** Where nodes that join later are upgraded, too: how far that has come. */
  joined?: KnownNodes;
}

/** Which nodes a rollout has known, by UID, and in how many rounds it has upgraded those that joined. */
export interface KnownNodes {
  round: number;
  uids: string[];
}

export interface RolloutResult {
  phase: RolloutPhase;
  message: string;
  verdicts: Record<string, number>;
}

/** What every activity of a rollout needs to know about it. */
export interface RolloutContext {
  cluster: ClusterRef;
  rolloutID: string;
  request: RolloutRequest;
  spec: RolloutSpec;
}

/** Of a plan; `asked`: the value of the annotation with which a person asks for it, and no rollout carries it out. */
export interface PlanContext extends RolloutContext {
  asked?: string;
}

export interface WaveInput extends RolloutContext {
  timing: Timing;
  name: string;
  nodes: NodeRef[];
  place: Place;
  /** What earlier waves read inside the image, by architecture; a difference stops the rollout. */
  targets: Record<string, Target>;
  /** Why it starts paused. */
  paused?: string;
  /** How many nodes may fail, and have failed before it. Absent in histories of earlier versions: as `stopOnFailure` says. */
  failures?: { wave?: number; rollout?: number; before: number };
  /** After so many nodes it goes on in a workflow of its own. Absent: it is one. */
  segment?: number;
  /** Of a workflow in which a larger wave goes on. */
  goesOn?: { part: number; preceding: PrecedingPart };
  /** Its nodes that a person wants to be left out, by name. */
  skips?: Record<string, Asked>;
}

/** What the parts of a wave before one tell it: as a whole, whenever it has changed. */
export interface PrecedingPart {
  /** How many places in the wave's budget they do not need any more. */
  lanes: number;
  /** How many of their nodes failed, as far as that counts. */
  failed: number;
  /** Why the wave is paused. */
  paused?: string;
  /** Why it starts no further node. */
  stopped?: string;
}

export interface WaveResult {
  verdicts: Record<string, number>;
  /** All of them, the first hundred with their messages; in histories of earlier versions only these. */
  failed: FailedNode[];
  /** How many nodes count as failed; absent in histories of earlier versions. */
  counted?: number;
  /** Nodes that were deleted or replaced before anything was done to them; absent in histories of earlier versions. */
  gone?: string[];
  /** The first 100 nodes that were left to another NodeOpUpgrade; absent where there are none. */
  superseded?: SupersededNode[];
  /** Nodes that a person left out: they count as `Skipped`, and are no failures. */
  skipped?: string[];
  /** Nodes that ended in this wave and were asked to be tried again: counted nowhere else in this result. */
  again?: FailedNode[];
  /** Nodes that were not started because the wave stopped. */
  untouched: number;
  /** Of a wave of retries: which nodes these are. They stay as they had ended before. */
  left?: string[];
  stopped?: string;
  targets: Record<string, Target>;
}

/** `by`: namespace/name of the NodeOpUpgrade that the node was left to. */
export interface SupersededNode {
  name: string;
  by: string;
}

export interface FailedNode {
  name: string;
  verdict: Verdict;
  /** Empty in results that name very many. */
  message: string;
  /** Ended as the strategy wants it: in no failure budget. */
  tolerated?: true;
  /** Among the nodes that are to be tried again: a person had left it out, and it is no failure. */
  skipped?: true;
}

/** The answer of a pre-pull to a node that was deleted or replaced meanwhile, or that is left to another NodeOpUpgrade. */
export type PulledInVain = { gone: true; message: string } | { supersededBy: string; message: string };

/** What the pre-pull read inside the image, on one node. */
export interface Target {
  /** The image as it was asked for. */
  image: string;
  /** The reference that the pods of this node use: by digest where the digest is known to the registry. */
  pinned: string;
  digest?: string;
  /** What the runtime of the node calls it: which digest that holds depends on the runtime. */
  imageID?: string;
  architecture: string;
  version: string;
  /** The release fields that decide whether node and image fit together. */
  fields: Record<string, string>;
  /** Why no node of this group may be upgraded to it: the rollout ends before any is touched. */
  refused?: string;
}

export interface NodeUpgradeInput extends RolloutContext {
  timing: Timing;
  node: NodeRef;
  place: Place;
  target: Target;
  /** Only finish what an earlier workflow of this node left behind; start nothing. */
  recover?: boolean;
}

/** A node in hand: what every step after the gates is given. */
export interface NodeInHand extends RolloutContext {
  workflowID: string;
  node: NodeRef;
  place: Place;
  target: Target;
  /** The boot in which the node was taken in hand; a step that finds another one answers `BootChanged`. */
  bootID: string;
  from?: string;
  /** When the node was taken in hand (RFC 3339). */
  startedAt: string;
  /** When it was taken up again after its first workflow was lost (RFC 3339). */
  recoveredAt?: string;
  /** When its steps began. */
  steps?: StepTimes;
  /** DaemonSets and pods on the node that were not Ready before it was cordoned: the upgrade did not break them. */
  notReadyBefore?: string[];
  /** The mark that kept the node out before: taken over now, put back where its image is not touched. */
  takesOver?: string;
  /** What its drain did that a person should know. */
  drain?: DrainRecord;
  /** The version of the Node that carries our cordon: nothing older says anything about it. */
  cordonedVersion?: string;
}

/** A node that is to be marked; `drains`: what refuses a drain refuses the node before it is touched. */
export interface Marking extends NodeInHand {
  drains?: true;
}

/**
 * What an earlier workflow left behind on a node. `giveBack`: its image was not touched. `write`, `reboot`, `verify`,
 * `recovery`: where its upgrade goes on.
 */
export interface Leftover {
  resume: 'giveBack' | 'write' | 'reboot' | 'verify' | 'recovery';
  hand: NodeInHand;
  /** Whether it belongs to the attempt that asks now: its verdict is that attempt's verdict. */
  sameAttempt: boolean;
}

export type GateAnswer =
  /** `recoveryOnly`: the node runs the target, and only its recovery image is left to be written. */
  | { answer: 'Go'; bootID: string; from?: string; takesOver?: string; recoveryOnly?: true }
  | { answer: 'Recover'; leftover: Leftover }
  | { answer: 'Wait'; reason: string }
  /**
   * `recorded`: its KairosNode says so already. `gone`: there is no such node any more, and nothing was done to it.
   * `supersededBy`: the NodeOpUpgrade, as namespace/name, that it is left to.
   */
  | { answer: 'Done'; verdict: Verdict; message: string; recorded?: true; gone?: true; supersededBy?: string };

export interface NodeResult {
  node: string;
  outcome: 'Ended' | 'NotStarted';
  verdict?: Verdict;
  message: string;
  from?: string;
  to?: string;
  /** What the verdict was given on. */
  evidence?: AttemptEvidence;
  cancelled?: boolean;
  /** The node was deleted or replaced before anything was done to it: it is no part of the rollout any more. */
  gone?: true;
  /** The NodeOpUpgrade, as namespace/name, that it is left to: nothing was done to it. */
  supersededBy?: string;
  /** Ended as the strategy wants it (`onTimeout: Skip`): no reason to stop the others. */
  tolerated?: true;
  /** A person left it out: `Skipped`, and no failure. */
  skipped?: true;
  /** What was written, and how that ended; of a log that tells of a success only the last words. */
  writes?: WriteRecord[];
}

/** A plan that a person asks for. Its workflow touches nothing, and knows nothing of the rollout beside it. */
export interface PlanInput {
  cluster: ClusterRef;
  request: RolloutRequest;
  spec: RolloutSpec;
  timing: Timing;
  /** The value of the annotation that asks for it. */
  asked: string;
}

/** What a person is answered who asked for a plan; the whole of it is in `status.plan`. */
export interface PlanAnswer {
  message: string;
}

/** The question whether a worker is at work. */
export interface CheckInput {
  cluster: ClusterRef;
  timing: Timing;
}

/** What the worker that answered sees of its cluster. `lacks`: a right without which it works, though worse. */
export interface CheckAnswer {
  nodes: number;
  kairosNodes: number;
  lacks?: string;
}

/** Names under which people and programs reach the workflows. */
export const WORKFLOW_NAMES = {
  rollout: 'rollout',
  wave: 'wave',
  nodeUpgrade: 'nodeUpgrade',
  plan: 'plan',
  check: 'check',
} as const;

export const nodeWorkflowID = (cluster: ClusterRef, node: NodeRef) => `node/${cluster.id}/${node.uid}`;
export const waveWorkflowID = (rolloutID: string, request: RolloutRequest, wave: string) =>
  `wave/${rolloutID.slice('rollout/'.length)}/${request.attempt}/${wave}`;
/** The workflow of the plans that people ask for, beside the rollout of the same resource; and the other way round. */
export const planWorkflowID = (rolloutID: string) => `plan/${rolloutID.slice('rollout/'.length)}`;
export const rolloutOfPlan = (workflowID: string) => workflowID.replace(/^plan\//, 'rollout/');
export const taskQueue = (cluster: ClusterRef) => `kairos-${cluster.id}`;

/** Type of the failure of an update whose request is for the next attempt: in this one nothing is started any more. */
export const NEXT_ATTEMPT = 'NextAttempt';

/** Memo of a rollout: tells the watcher whose workflow it is. */
export interface RolloutMemo {
  uid: string;
  generation: number;
  attempt: number;
  retry?: string;
  /** Of a plan that a person asked for: which request. */
  asked?: string;
  /** For hand-edited KairosNodes: which edit of each node's KairosNode the rollout is for. */
  nodes?: Record<string, string>;
}
