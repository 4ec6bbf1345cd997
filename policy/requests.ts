import {
  ABORT_ANNOTATION,
  APPROVE_ANNOTATION,
  PLAN_ANNOTATION,
  RETRY_NODE_ANNOTATION,
  SKIP_ANNOTATION,
} from '../api/names.ts';
import type { Condition, NodeOpUpgrade, NodeOpUpgradeStatus } from '../api/types.ts';
import { isFinal, type EngineState } from './engine.ts';

/** What a person asks with an annotation, beside a pause and another attempt: all but a plan of the rollout. */
const REQUESTS = {
  approve: { annotation: APPROVE_ANNOTATION, update: 'approve', names: 'wave' },
  skip: { annotation: SKIP_ANNOTATION, update: 'skip', names: 'node' },
  retryNode: { annotation: RETRY_NODE_ANNOTATION, update: 'retry', names: 'node' },
  abort: { annotation: ABORT_ANNOTATION, update: 'abort', names: undefined },
  plan: { annotation: PLAN_ANNOTATION, update: undefined, names: undefined },
} as const;

type Kind = keyof typeof REQUESTS;
type Requests = NonNullable<NodeOpUpgradeStatus['requests']>;
type Taken = NonNullable<Requests[Kind]>;

export const REQUEST_ANNOTATIONS: readonly string[] = Object.values(REQUESTS).map(({ annotation }) => annotation);

/** Characters of an annotation that the status holds. */
export const LONGEST_REQUEST = 4000;

/** Failed nodes that the status lists, and nodes that an answer names. */
const LISTED = 100;
const NAMED = 10;

interface Answer {
  accepted: boolean;
  message: string;
}

/** A value of an annotation that has not been answered. */
export interface OpenPlanRequest {
  kind: Kind;
  annotation: string;
  value: string;
  /** The attempt that is asked, and the number of this value of the annotation: with the value they are the request. */
  attempt: number;
  number: number;
}

/** One that a rollout answers. */
export interface OpenRequest extends OpenPlanRequest {
  update: 'approve' | 'skip' | 'retry' | 'abort';
  message: { by: 'kubectl'; wave?: string; node?: string; reason?: string };
  /** The earlier attempt of which this was asked, and that has not answered. */
  earlier?: number;
}

/**
 * The annotations of a NodeOpUpgrade that ask for something which was not answered yet, an abort last: whoever writes
 * two at once means both. A value asks once, over the life of the resource, however many attempts there are; the same
 * value asks anew when the annotation was taken away in between.
 */
export function openRequests(upgrade: NodeOpUpgrade, engine?: EngineState): OpenRequest[] {
  const memo = engine === undefined || engine.state === 'NotFound' ? undefined : engine.memo;
  // That of the workflow: its first status may not be written yet.
  const attempt = memo?.attempt ?? upgrade.status?.rollout?.attempt ?? 0;
  return kinds().flatMap((kind) => {
    const { annotation, update, names } = REQUESTS[kind];
    const open = openValue(upgrade, kind);
    if (open === undefined || update === undefined || (kind === 'abort' && open.value === 'false')) return [];
    const { askedOf: before = 0, ...asked } = open;
    const earlier = before > 0 && before < attempt ? { earlier: before } : {};
    return [{ kind, annotation, ...asked, update, message: messageOf(names, asked.value), attempt, ...earlier }];
  });
}

/** The annotation that asks for a plan, where it was not answered yet; a value asks once, as those for the rollout. */
export function openPlanRequest(upgrade: NodeOpUpgrade): OpenPlanRequest | undefined {
  const { attempt = 0, phase } = upgrade.status?.rollout ?? {};
  const open = openValue(upgrade, 'plan');
  if (open === undefined) return undefined;
  const { value, number } = open;
  // Of a rollout that has ended it is the next attempt that is planned.
  return { kind: 'plan', annotation: PLAN_ANNOTATION, value, number, attempt: isFinal(phase) ? attempt + 1 : attempt };
}

/** Whether a plan is made that is asked for: not where the attempt of this spec is about to make one for itself. */
export function plansNow({ metadata, status }: NodeOpUpgrade): boolean {
  const { generation, phase } = status?.rollout ?? {};
  return generation === metadata.generation && phase !== 'Pending' && phase !== 'Planning';
}

/** The value of an annotation that was not answered yet, its number, and of which attempt it was asked before. */
function openValue(
  { metadata, status }: NodeOpUpgrade,
  kind: Kind,
): { value: string; number: number; askedOf?: number } | undefined {
  const value = metadata.annotations?.[REQUESTS[kind].annotation]?.trim();
  const before = status?.requests?.[kind];
  if (value === undefined) return undefined;
  const isKnown = before !== undefined && before.gone !== true && before.value === value.slice(0, LONGEST_REQUEST);
  if (isKnown && before.accepted !== undefined) return undefined;
  return isKnown
    ? { value, number: before.number, askedOf: before.attempt }
    : { value, number: (before?.number ?? 0) + 1 };
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

/**
 * What is answered to what was asked of an earlier attempt, which ended before it answered: that attempt was meant, and
 * not the one that runs now. A node that is to be left out is better left out of that, too: undefined.
 */
export function lateAnswer({
  kind,
  attempt,
  earlier,
}: Pick<OpenRequest, 'kind' | 'attempt' | 'earlier'>): Answer | undefined {
  if (earlier === undefined || kind === 'skip') return undefined;
  if (kind === 'retryNode')
    return {
      accepted: true,
      message: `attempt ${attempt} has begun: it takes up every node that is not on the target`,
    };
  const message = `attempt ${earlier} ended before this was answered, and attempt ${attempt} was not meant: write another value to ask that`;
  return { accepted: false, message };
}

/** What is answered where the rollout has ended; undefined where it begins the next attempt. */
export function endedAnswer(upgrade: NodeOpUpgrade, request: Pick<OpenRequest, 'kind' | 'update' | 'message'>) {
  if (request.kind === 'retryNode' && beginsNext(upgrade, request.message)) return undefined;
  return { accepted: false, message: endedText(upgrade, request) };
}

function endedText(
  { metadata, status }: NodeOpUpgrade,
  { kind, update }: Pick<OpenRequest, 'kind' | 'update'>,
): string {
  const { attempt = 1, phase = 'ended', failed = [], skipped = [] } = status?.rollout ?? {};
  const names = [...failed, ...skipped].map(({ name }) => name);
  const named = names.length === 0 ? 'none' : names.slice(0, NAMED).join(', ');
  const whose = kind === 'retryNode' ? ` (failed or left out: ${named}${names.length > NAMED ? ', …' : ''})` : '';
  const next =
    update === 'abort'
      ? ''
      : `; for the next attempt: kubectl annotate -n ${metadata.namespace} nodeopupgrade ${metadata.name} --overwrite kairos.io/retry="$(date +%s)"`;
  return `attempt ${attempt} has ended as ${phase}: there is nothing to ${update}${whose}${next}`;
}

/** Whether these are nodes that failed in the attempt that has ended, or were left out of it. */
function beginsNext({ status }: NodeOpUpgrade, { node = '' }: OpenRequest['message']): boolean {
  const { phase, failed = [], skipped = [] } = status?.rollout ?? {};
  if (phase === undefined || phase === 'Planned') return false;
  if (node === '*') return failed.length > 0;
  const named = namesOf(node);
  // A list that is full does not have all.
  if (failed.length >= LISTED) return named.length > 0;
  return named.length > 0 && named.every((name) => [...failed, ...skipped].some((one) => one.name === name));
}

/** The nodes that a request names. */
export const namesOf = (node: string): string[] =>
  node
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/** The retry of nodes that begins the next attempt of a rollout that has ended, or undefined. */
export const nextRetry = (upgrade: NodeOpUpgrade, engine: EngineState): OpenRequest | undefined =>
  askedOf(upgrade, engine) !== 'Nobody'
    ? undefined
    : openRequests(upgrade, engine).find(
        (request) =>
          request.kind === 'retryNode' && lateAnswer(request) === undefined && beginsNext(upgrade, request.message),
      );

/** What a person is told as long as no worker answers. */
const NOT_ANSWERED =
  'not answered yet: it takes its time, or no worker runs; it is asked until it is answered; kubectl get pods -A -l app.kubernetes.io/part-of=kairos-operator';

const TAKEN_AWAY = 'it was taken away before it was answered; what was done is in status.rollout.requests';

/** The last thing that was asked by an annotation, and what was answered; undefined where nothing ever was. */
export function lastRequest({
  status,
}: NodeOpUpgrade): (Pick<Condition, 'status' | 'reason' | 'message'> & { at: string }) | undefined {
  const last = Object.entries(status?.requests ?? {})
    .map(([kind, taken]) => ({ kind: kind as Kind, taken: taken as Taken }))
    .sort((one, other) => (one.taken.at < other.taken.at ? -1 : 1))
    .at(-1);
  if (last === undefined) return undefined;
  const { accepted, value, gone, attempt, at } = last.taken;
  const message = last.taken.message ?? (gone === true ? TAKEN_AWAY : NOT_ANSWERED);
  const asked = `${REQUESTS[last.kind].annotation}="${value.slice(0, 200)}" at ${at}, of attempt ${attempt}`;
  return {
    at,
    status: accepted === undefined ? 'Unknown' : accepted ? 'True' : 'False',
    reason: accepted === undefined ? 'RequestWaits' : accepted ? 'RequestAccepted' : 'RequestRefused',
    message: `${asked}: ${message}`,
  };
}
