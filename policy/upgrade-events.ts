import type { Condition, NodeOpUpgrade, RolloutStatus } from '../api/types.ts';
import { askedText } from './asked.ts';
import { isFinal } from './engine.ts';
import { type Notice, freshNotices, resumeCommand, retryCommand } from './events.ts';
import { nodeFailed, verdictText, type TalkingNode } from './node-events.ts';
import { sameAttempt } from './recovery.ts';

/** A rollout that fails on hundreds of nodes names the first ones here, the first hundred in its status. */
const FAILED_SAID = 10;

/** What is said about a NodeOpUpgrade that now is this. */
export function newsOfUpgrade(before: NodeOpUpgrade | undefined, now: NodeOpUpgrade, atMs: number): Notice[] {
  const earlier = before?.metadata.uid === now.metadata.uid ? before : undefined;
  const fresh = freshNotices(earlier && noticesOfUpgrade(earlier), noticesOfUpgrade(now), atMs);
  return earlier === undefined ? fresh : [...fresh, ...returned(earlier, now), ...resumed(earlier, now)];
}

/**
 * What a rollout says about a node that ended without having been taken in hand, such as by a failed pull: its
 * KairosNode has no attempt that would tell.
 */
export function newsOfUntouched(
  before: NodeOpUpgrade | undefined,
  now: NodeOpUpgrade,
  nodeOf: (name: string) => TalkingNode | undefined,
): { node: TalkingNode; notice: Notice }[] {
  const { namespace = '', name, uid = '' } = now.metadata;
  const rollout = now.status?.rollout;
  if (before?.metadata.uid !== uid || rollout === undefined) return [];
  const { generation, attempt } = rollout;
  const request = { kind: 'NodeOpUpgrade' as const, namespace, name, uid, generation, attempt };
  const was = before.status?.rollout;
  const earlier = was?.attempt === attempt && was.generation === generation ? was : undefined;
  const key = `untouched/${uid}/${generation}/${attempt}`;
  const isNew = (known: readonly { name: string }[] | undefined, node: string) =>
    known?.some(({ name: other }) => other === node) !== true;
  const failures = (rollout.failed ?? []).slice(0, FAILED_SAID).flatMap((failed) => {
    const node = nodeOf(failed.name);
    if (node === undefined || !isNew(earlier?.failed, failed.name)) return [];
    if (sameAttempt(node.status.lastAttempt?.request, request)) return [];
    return [{ node, notice: { key, ...verdictText(failed.name, failed.verdict, failed.message ?? '', request) } }];
  });
  const left = (rollout.superseded ?? []).slice(0, FAILED_SAID).flatMap((superseded) => {
    const node = nodeOf(superseded.name);
    if (node === undefined || !isNew(earlier?.superseded, superseded.name)) return [];
    const message = `${namespace}/${name} leaves it to ${superseded.by}, which was created later and wants another image`;
    return [{ node, notice: { key, type: 'Normal' as const, reason: 'Superseded' as const, message } }];
  });
  return [...failures, ...left];
}

function noticesOfUpgrade(upgrade: NodeOpUpgrade): Notice[] {
  const rollout = upgrade.status?.rollout;
  return [
    ...(rollout === undefined ? [] : rolloutNotices(upgrade, rollout)),
    ...(upgrade.status?.conditions ?? []).flatMap((condition) => conditionNotices(condition, rollout)),
  ];
}

function rolloutNotices({ metadata }: NodeOpUpgrade, rollout: RolloutStatus): Notice[] {
  const { generation, attempt, phase, wave, message = '', paused, image, startedAt, finishedAt } = rollout;
  const key = `${generation}/${attempt}`;
  const notices: Notice[] = [];
  const say = (reason: Notice['reason'], text: string, more: Partial<Notice> = {}) =>
    notices.push({ key, type: 'Normal', reason, message: text, ...more });
  if (startedAt !== undefined)
    say('Started', `attempt ${attempt}: ${image ?? ''}; workflow ${rollout.workflowID}`, { at: startedAt });
  if (wave !== undefined && !isFinal(phase) && message.startsWith(`wave ${wave}:`))
    say('WaveStarted', message, { key: `${key}/${wave}` });
  if (paused !== undefined) {
    const lift = resumeCommand(paused.by, { ...metadata, workflowID: rollout.workflowID });
    const text = `by ${askedText(paused)}; nodes in hand are finished, no further one is started. To go on: ${lift}`;
    say('Paused', text, { key: `${key}/${paused.since}`, at: paused.since });
  }
  if (phase === 'Cancelling') say('Cancelling', message);
  const ended = isFinal(phase);
  for (const node of (rollout.failed ?? []).slice(0, FAILED_SAID))
    notices.push(nodeFailed(rollout, node, ended ? finishedAt : undefined));
  if (ended) {
    const request = { kind: 'NodeOpUpgrade', namespace: metadata.namespace ?? '', name: metadata.name };
    const command = retryCommand(request, '');
    const next =
      phase === 'Completed' || phase === 'Planned' || message.includes('kairos.io/retry')
        ? ''
        : `. To try again: ${command}`;
    const text = `attempt ${attempt}: ${message.slice(0, 1000 - next.length - 20)}${next}`;
    say(phase, text, {
      type: phase === 'Failed' ? 'Warning' : 'Normal',
      ...(finishedAt === undefined ? {} : { at: finishedAt }),
    });
  }
  return notices;
}

const isRequestReason = (reason: string) =>
  reason === 'RequestAccepted' || reason === 'RequestRefused' || reason === 'RequestWaits';

/** What the watcher says itself: that Temporal is away, that nothing moves. */
function conditionNotices(condition: Condition, rollout: RolloutStatus | undefined): Notice[] {
  const { type, status, reason, message, lastTransitionTime } = condition;
  const say = (word: Notice['reason'], key: string): Notice[] => [
    { key, type: 'Warning', reason: word, message, at: lastTransitionTime },
  ];
  if (type === 'EngineReachable' && status === 'False') return say('TemporalUnreachable', '');
  if (type === 'Progressing' && status === 'False' && (reason === 'Waiting' || reason === 'NotStarted'))
    return say(reason, `${rollout?.generation ?? 0}/${rollout?.attempt ?? 0}`);
  if (type === 'ApprovalNeeded') {
    const { wave = '', since = '' } = rollout?.approval ?? {};
    return [{ key: `${wave}/${since}`, type: 'Normal', reason: 'ApprovalNeeded', message, at: lastTransitionTime }];
  }
  if (type === 'LastRequest' && isRequestReason(reason)) {
    const warns = reason === 'RequestAccepted' ? 'Normal' : 'Warning';
    return [{ key: message.split(': ')[0] ?? '', type: warns, reason, message, at: lastTransitionTime }];
  }
  return [];
}

function returned(before: NodeOpUpgrade, now: NodeOpUpgrade): Notice[] {
  const engine = (upgrade: NodeOpUpgrade) =>
    upgrade.status?.conditions?.find(({ type }) => type === 'EngineReachable')?.status;
  if (engine(before) !== 'False' || engine(now) !== 'True') return [];
  return [
    { key: '', type: 'Normal', reason: 'TemporalReturned', message: 'Temporal answers again: the rollout goes on' },
  ];
}

/** What kubectl paused is resumed by kubectl only; anything else was resumed through Temporal. */
function resumed(before: NodeOpUpgrade, now: NodeOpUpgrade): Notice[] {
  const [was, is] = [before.status?.rollout, now.status?.rollout];
  const paused = was?.paused;
  if (paused === undefined || is === undefined || is.paused !== undefined || isFinal(is.phase)) return [];
  if (was?.attempt !== is.attempt || was.generation !== is.generation) return [];
  const how = paused.by === 'kubectl' ? 'the annotation kairos.io/pause is gone' : 'by a message through Temporal';
  return [
    {
      key: `${is.generation}/${is.attempt}/${paused.since}`,
      type: 'Normal',
      reason: 'Resumed',
      message: `${how}; it was paused since ${paused.since}: ${paused.reason}`,
    },
  ];
}
