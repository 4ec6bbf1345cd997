import type { PastAttempt, RolloutStatus } from '../api/types.ts';
import { askedText } from './asked.ts';
import { isFinal } from './engine.ts';

/** How many attempts the resource has room for. */
const REMEMBERED = 10;
/** Nodes that one attempt names, and characters of what it says. */
const NAMED = 10;
const LONGEST_MESSAGE = 900;
const LONGEST_NODE_MESSAGE = 280;
/** Requests that it names, the last ones, and characters of what was asked and why. */
const REQUESTS = 5;
const LONGEST_WHAT = 120;
const LONGEST_REASON = 280;

/**
 * What is remembered of an attempt when it has ended. One of which no end is known, because its workflow was lost and
 * the spec was edited before it was started again, counts as failed and says so.
 * @param atMs when the end was found, for an attempt that does not say when it ended
 */
export function pastAttempt(rollout: RolloutStatus, atMs: number): PastAttempt {
  const { attempt, generation, image, version, retry, paused, endedBy, requests, total, verdicts, failed, startedAt } =
    rollout;
  const ended = isFinal(rollout.phase);
  const message = ended
    ? rollout.message
    : `its end is not known: it was ${rollout.phase} when its workflow was lost, and another attempt has begun since${rollout.message === undefined ? '' : ` (${rollout.message})`}`;
  return {
    attempt,
    generation,
    phase: ended ? rollout.phase : 'Failed',
    finishedAt: rollout.finishedAt ?? new Date(atMs).toISOString(),
    ...(message === undefined ? {} : { message: message.slice(0, LONGEST_MESSAGE) }),
    ...(image === undefined ? {} : { image }),
    ...(version === undefined ? {} : { version }),
    ...(retry === undefined ? {} : { retry }),
    ...(paused === undefined ? {} : { paused: askedText(paused).slice(0, LONGEST_MESSAGE) }),
    ...(endedBy === undefined ? {} : { endedBy: shortReason(endedBy) }),
    ...(requests === undefined || requests.length === 0
      ? {}
      : {
          requests: requests.slice(-REQUESTS).map(({ message: _message, what, ...asked }) => ({
            ...shortReason(asked),
            what: what.slice(0, LONGEST_WHAT),
          })),
        }),
    ...(total === undefined ? {} : { total }),
    ...(verdicts === undefined ? {} : { verdicts }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(failed === undefined || failed.length === 0
      ? {}
      : {
          failed: failed.slice(0, NAMED).map(({ name, verdict, message: why }) => ({
            name,
            verdict,
            ...(why === undefined ? {} : { message: why.slice(0, LONGEST_NODE_MESSAGE) }),
          })),
        }),
  };
}

const shortReason = <T extends { reason?: string | undefined }>({ reason, ...asked }: T) => ({
  ...asked,
  ...(reason === undefined ? {} : { reason: reason.slice(0, LONGEST_REASON) }),
});

/**
 * The history with this attempt in it: the newest first, each attempt once, at most ten. Writing the same end twice
 * changes nothing, and the end that was written last is the one that stays.
 */
export function remember(history: readonly PastAttempt[] = [], past: PastAttempt): PastAttempt[] {
  return [past, ...history.filter(({ attempt }) => attempt !== past.attempt)]
    .sort((one, other) => other.attempt - one.attempt)
    .slice(0, REMEMBERED);
}
