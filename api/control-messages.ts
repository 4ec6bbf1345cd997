/** What people ask of a rollout, as it is kept in histories. Plain JSON, as everything in api/messages.ts. */
import type { NodeRef, Place } from './node-ref.ts';

/** That a person asked for something: by which way, who they said they are, why, and when (RFC 3339). */
export interface Asked {
  by: 'kubectl' | 'temporal';
  who?: string;
  reason?: string;
  at: string;
}

/** What a person was answered. */
export interface ControlAnswer {
  accepted: boolean;
  message: string;
  /** Not accepted, as nothing is started any more in this attempt: it is for the next one. */
  next?: true;
}

/** Why no further node is started, by whom, and since when (RFC 3339). */
export interface Paused {
  by: Asked['by'];
  who?: string;
  reason: string;
  since: string;
}

/** A node that failed, or was skipped, and is to be tried again: with the group and the budget of its wave. */
export interface RetriedNode extends Place {
  node: NodeRef;
}

/** All that people have asked of a rollout and that is not in its resource alone: it travels with a continue-as-new. */
export interface ControlState {
  paused?: Paused;
  approvals: (Asked & { wave: string })[];
  /** Nodes that are to be left out and have not ended yet, by name. */
  skips: Record<string, Asked>;
  /** Nodes that were left out by a person. */
  skipped: (Asked & { name: string })[];
  /** Nodes that are tried again when the wave that runs has ended. */
  retries: RetriedNode[];
  /** How many waves of retries there have been. */
  tries: number;
  /** Nodes of waves that are over which failed, or were left out, by name: they can be tried again. */
  ended: Record<string, RetriedNode>;
  /** Waves that have begun, by name, with whether they are over. */
  waves: Record<string, 'Running' | 'Over'>;
  /** What was answered, by the id of the update: a request that is repeated acts once. */
  answered: Record<string, ControlAnswer>;
  /** The last requests, for people. */
  requests: (Asked & Pick<ControlAnswer, 'accepted' | 'message'> & { what: string })[];
  aborted?: Asked;
}
