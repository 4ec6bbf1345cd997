import type { Asked, ControlState } from '../api/control-messages.ts';

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
