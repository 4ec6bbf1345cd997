import { createHash } from 'node:crypto';
import { OPERATOR_FIELD_MANAGER } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { patchNodeOpUpgradeStatus } from '../kube/node-op-upgrades.ts';
import type { Writers } from '../kube/writers.ts';
import type { EngineState } from '../policy/engine.ts';
import {
  askedOf,
  endedAnswer,
  goneRequests,
  lateAnswer,
  LONGEST_REQUEST,
  openRequests,
  type OpenPlanRequest,
  type OpenRequest,
} from '../policy/requests.ts';
import type { WatcherContext } from './context.ts';
import type { RequestAnswer, UpdateAnswer } from './engine.ts';

const BEGINS: RequestAnswer = { next: 'the next attempt begins' };

/** Thrown where a request has to be made again: the queue does that, each time a little later. */
class NotYetAnswered extends Error {
  constructor(annotation: string) {
    super(`no worker has answered ${annotation}`);
    this.name = 'NotYetAnswered';
  }
}

/**
 * Carries what people wrote into annotations to the rollout, and its answers into `status.requests`. Each request is an
 * update whose id is made of its value, its number and its attempt: a second watcher, or a repetition, acts once. What
 * is asked of a rollout that has not begun is left for then.
 * @throws NotYetAnswered when no worker answered
 */
export async function carryRequests(
  context: WatcherContext,
  resource: NodeOpUpgrade,
  { annotations }: Writers,
  workflowID: string,
  engine: EngineState,
): Promise<void> {
  for (const kind of goneRequests(resource)) await note(context, resource, kind, { gone: true });
  const whom = askedOf(resource, engine);
  if (whom === 'Later') return;
  const waiting: string[] = [];
  const carry = async (request: OpenRequest) => {
    const who = annotations[request.annotation];
    const known = lateAnswer(request) ?? (whom === 'Nobody' ? (endedAnswer(resource, request) ?? BEGINS) : undefined);
    const answer = known ?? (await ask(context, workflowID, request, who));
    context.log.info({ workflow: workflowID, request: request.annotation, who, answer }, 'a person asks');
    // It has closed just now: the look that follows its end answers.
    if (answer === 'Closed') return;
    await noteAnswer(context, resource, request, answer);
    if (answer === 'NotAnswered') waiting.push(request.annotation);
  };
  // Side by side, as each may take its time; but an abort last: whoever writes two at once means both.
  const open = openRequests(resource, engine);
  const others = await Promise.allSettled(open.filter(({ kind }) => kind !== 'abort').map(carry));
  for (const abort of open.filter(({ kind }) => kind === 'abort')) await carry(abort);
  for (const one of others) if (one.status === 'rejected') throw one.reason;
  if (waiting.length > 0) throw new NotYetAnswered(waiting.join(', '));
}

async function ask(
  { engine }: WatcherContext,
  workflowID: string,
  request: OpenRequest,
  who: string | undefined,
): Promise<UpdateAnswer> {
  const { kind, update, message, value, attempt } = request;
  if (value.length > LONGEST_REQUEST)
    return { accepted: false, message: `the value is longer than ${LONGEST_REQUEST} characters: ask in several steps` };
  return engine.update(
    workflowID,
    update,
    { ...message, ...(who === undefined ? {} : { who }) },
    `${kind}/${attempt}/${valueID(request)}`,
  );
}

/** A value of an annotation in few characters: its number, since the same one may ask anew, and its hash. */
export const valueID = ({ number, value }: Pick<OpenPlanRequest, 'number' | 'value'>): string =>
  `${number}/${createHash('sha256').update(value).digest('hex').slice(0, 16)}`;

/** Writes the answer to a request into `status.requests`, or that nobody has answered yet. */
export async function noteAnswer(
  context: WatcherContext,
  resource: NodeOpUpgrade,
  request: OpenPlanRequest,
  answer: RequestAnswer | 'NotAnswered',
): Promise<void> {
  const before = resource.status?.requests?.[request.kind];
  const said = saidOf(answer);
  // Said once: the same again would wake everybody who watches.
  const isNoted = before?.number === request.number && before.gone !== true;
  if (isNoted && said.accepted === null && (answer === 'NotAnswered' || before.message === said.message)) return;
  await note(context, resource, request.kind, {
    value: request.value.slice(0, LONGEST_REQUEST),
    attempt: request.attempt,
    number: request.number,
    at: new Date().toISOString(),
    gone: null,
    ...said,
  });
}

function saidOf(answer: RequestAnswer | 'NotAnswered'): { accepted: boolean | null; message: string | null } {
  if (answer === 'NotAnswered') return { accepted: null, message: null };
  if ('next' in answer) return { accepted: null, message: answer.next.slice(0, LONGEST_REQUEST) };
  return { accepted: answer.accepted, message: answer.message.slice(0, LONGEST_REQUEST) };
}

/** Notes that a retry of nodes has begun the next attempt. */
export async function noteBegun(
  context: WatcherContext,
  resource: NodeOpUpgrade,
  request: OpenRequest,
  { attempt, again }: { attempt: number; again?: true },
): Promise<void> {
  const leftOut = again === true ? '; who was left out stays so' : '';
  const message = `attempt ${attempt} has begun: it takes up every node that is not on the target${leftOut}`;
  await noteAnswer(context, resource, request, { accepted: true, message });
}

async function note(
  { client }: WatcherContext,
  { metadata: { namespace = '', name, uid = '' } }: NodeOpUpgrade,
  kind: OpenPlanRequest['kind'],
  change: Record<string, unknown>,
): Promise<void> {
  const body = { metadata: { uid }, status: { requests: { [kind]: change } } };
  try {
    await patchNodeOpUpgradeStatus(client, namespace, name, body, OPERATOR_FIELD_MANAGER);
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}
