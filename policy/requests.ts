import { ABORT_ANNOTATION, APPROVE_ANNOTATION, RETRY_NODE_ANNOTATION, SKIP_ANNOTATION } from '../api/names.ts';
import type { Condition, NodeOpUpgrade, NodeOpUpgradeStatus } from '../api/types.ts';
import { isFinal, type EngineState } from './engine.ts';

/** What a person asks of a rollout with an annotation, beside a pause and another attempt. */
const REQUESTS = {
  approve: { annotation: APPROVE_ANNOTATION, update: 'approve', names: 'wave' },
  skip: { annotation: SKIP_ANNOTATION, update: 'skip', names: 'node' },
  retryNode: { annotation: RETRY_NODE_ANNOTATION, update: 'retry', names: 'node' },
  abort: { annotation: ABORT_ANNOTATION, update: 'abort', names: undefined },
} as const;

type Kind = keyof typeof REQUESTS;
type Requests = NonNullable<NodeOpUpgradeStatus['requests']>;
type Taken = NonNullable<Requests[Kind]>;

export const REQUEST_ANNOTATIONS: readonly string[] = Object.values(REQUESTS).map(({ annotation }) => annotation);

/** Characters of an annotation that the status holds. */
export const LONGEST_REQUEST = 4000;

/** A value of an annotation that has not been answered. */
export interface OpenRequest {
  kind: Kind;
  annotation: string;
  value: string;
  update: 'approve' | 'skip' | 'retry' | 'abort';
  message: { by: 'kubectl'; wave?: string; node?: string; reason?: string };
  /** The attempt that is asked, and the number of this value of the annotation: with the value they are the request. */
  attempt: number;
  number: number;
}

/**
 * The annotations of a NodeOpUpgrade that ask for something which was not answered yet, an abort last: whoever writes
 * two at once means both. A value asks once, over the life of the resource, however many attempts there are; the same
 * value asks anew when the annotation was taken away in between.
 */
export function openRequests({ metadata, status }: NodeOpUpgrade, engine?: EngineState): OpenRequest[] {
  const memo = engine === undefined || engine.state === 'NotFound' ? undefined : engine.memo;
  // That of the workflow: its first status may not be written yet.
  const attempt = memo?.attempt ?? status?.rollout?.attempt ?? 0;
  return kinds().flatMap((kind) => {
    const { annotation, update, names } = REQUESTS[kind];
    const value = metadata.annotations?.[annotation]?.trim();
    const before = status?.requests?.[kind];
    if (value === undefined || (kind === 'abort' && value === 'false')) return [];
    const isKnown = before !== undefined && before.gone !== true && before.value === value.slice(0, LONGEST_REQUEST);
    if (isKnown && before.accepted !== undefined) return [];
    const number = isKnown ? before.number : (before?.number ?? 0) + 1;
    return [{ kind, annotation, value, update, message: messageOf(names, value), attempt, number }];
  });
}

/** Annotations that were answered and are not there any more: the same value asks anew. */
export const goneRequests = ({ metadata, status }: NodeOpUpgrade): Kind[] =>
  kinds().filter((kind) => {
    const before = status?.requests?.[kind];
    return (
      before !== undefined && before.gone !== true && metadata.annotations?.[REQUESTS[kind].annotation] === undefined
    );
  });

const kinds = () => Object.keys(REQUESTS) as Kind[];

/** `worker-3,worker-4: its disk is replaced`: what it is about, and why. Of an abort all of it says why. */
function messageOf(names: 'wave' | 'node' | undefined, value: string): OpenRequest['message'] {
  if (names === undefined) return { by: 'kubectl', ...(value === '' ? {} : { reason: value }) };
  const colon = value.indexOf(':');
  const of = (colon < 0 ? value : value.slice(0, colon)).trim();
  const reason = colon < 0 ? '' : value.slice(colon + 1).trim();
  return { by: 'kubectl', [names]: of, ...(reason === '' ? {} : { reason }) };
}

/**
 * Whom a request is for: the rollout that runs; nobody, since the attempt for this spec has ended; or a rollout that
 * will begin in a moment, so that it is asked then.
 */
export function askedOf({ metadata, status }: NodeOpUpgrade, engine: EngineState): 'Rollout' | 'Nobody' | 'Later' {
  const rollout = status?.rollout;
  const { uid, generation } = metadata;
  if (engine.state === 'Open')
    return engine.memo?.uid === uid && engine.memo?.generation === generation ? 'Rollout' : 'Later';
  return rollout?.generation === generation && isFinal(rollout?.phase) ? 'Nobody' : 'Later';
}

/** What is answered where the rollout has ended. */
export function endedAnswer({ metadata, status }: NodeOpUpgrade, { update }: Pick<OpenRequest, 'update'>): string {
  const { attempt = 1, phase = 'ended' } = status?.rollout ?? {};
  const next =
    update === 'abort'
      ? ''
      : `; for the next attempt: kubectl annotate -n ${metadata.namespace} nodeopupgrade ${metadata.name} --overwrite kairos.io/retry="$(date +%s)"`;
  return `attempt ${attempt} has ended as ${phase}: there is nothing to ${update}${next}`;
}

/** What a person is told as long as no worker answers. */
const NOT_ANSWERED =
  'not answered yet: it takes its time, or no worker runs; it is asked until it is answered; kubectl get pods -A -l app.kubernetes.io/part-of=kairos-operator';

/** The last thing that was asked by an annotation, and what was answered; undefined where nothing ever was. */
export function lastRequest({
  status,
}: NodeOpUpgrade): (Pick<Condition, 'status' | 'reason' | 'message'> & { at: string }) | undefined {
  const last = Object.entries(status?.requests ?? {})
    .map(([kind, taken]) => ({ kind: kind as Kind, taken: taken as Taken }))
    .sort((one, other) => (one.taken.at < other.taken.at ? -1 : 1))
    .at(-1);
  if (last === undefined) return undefined;
  const { accepted, value, message = NOT_ANSWERED, attempt, at } = last.taken;
  const asked = `${REQUESTS[last.kind].annotation}="${value.slice(0, 200)}" at ${at}, of attempt ${attempt}`;
  return {
    at,
    status: accepted === undefined ? 'Unknown' : accepted ? 'True' : 'False',
    reason: accepted === undefined ? 'RequestWaits' : accepted ? 'RequestAccepted' : 'RequestRefused',
    message: `${asked}: ${message}`,
  };
}
