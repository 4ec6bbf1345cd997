import type { Asked, ControlState } from '../api/control-messages.ts';
import type { RolloutStatus } from '../api/types.ts';

/** What a rollout begins with of which nobody has asked anything. */
export const NOTHING_ASKED: ControlState = {
  approvals: [],
  skips: {},
  skipped: [],
  retries: [],
  tries: 0,
  ended: {},
  waves: {},
  answered: {},
  requests: [],
};

type Said = Pick<Asked, 'by'> & { [K in 'who' | 'reason']?: string | undefined };

/** Who asked for what, by which way and why: `kubectl (ana): disk alarm`. */
export function askedText({ by, who, reason }: Said): string {
  return `${by}${who === undefined ? '' : ` (${who})`}: ${reason ?? 'no reason given'}`;
}

/**
 * What people had asked of an attempt whose workflow was lost with Temporal's database, by what its resource says of it:
 * who is left out, what is approved, and a pause through Temporal, of which there is no annotation. A retry that had not
 * begun is not among it, and is to be asked again.
 */
export function askedBefore({ paused, approvals = [], requests = [], ...rollout }: RolloutStatus): ControlState {
  return {
    ...NOTHING_ASKED,
    approvals: approvals.map((approval) => ({ wave: approval.wave, ...given(approval) })),
    skips: leftOutIn(rollout),
    requests: requests.map(({ what, accepted, message, ...asked }) => ({ what, accepted, message, ...given(asked) })),
    ...(paused?.by === 'temporal'
      ? { paused: { ...whoOf(paused), by: paused.by, reason: paused.reason, since: paused.since } }
      : {}),
  };
}

/** The nodes that people left out of an attempt, or were about to, by name. */
export const leftOutIn = ({ skipped = [], leavingOut = [] }: Pick<RolloutStatus, 'skipped' | 'leavingOut'>) =>
  Object.fromEntries([...leavingOut, ...skipped].map((one) => [one.name, given(one)]));

const given = ({ by, at, reason, ...asked }: Said & Pick<Asked, 'at'>): Asked => ({
  by,
  ...whoOf(asked),
  ...(reason === undefined ? {} : { reason }),
  at,
});

const whoOf = ({ who }: { who?: string | undefined }) => (who === undefined ? {} : { who });
