import type { Condition, NodeOpUpgrade, NodeOpUpgradeStatus, RolloutStatus } from '../api/types.ts';
import { askedText } from './asked.ts';
import { type Correction, correctionsText } from './corrections.ts';
import { isFinal } from './engine.ts';
import { resumeCommand } from './events.ts';
import { lastRequest } from './requests.ts';
import { waitIn } from './rollout-wait.ts';

/** How long nothing may be in hand before that is worth a word: between two nodes it is for a moment. */
const STILL_MS = 60_000;

/** What is known around a rollout, for what it may wait for. */
export interface Around {
  atMs: number;
  /** When the last of its nodes ended, if any has. */
  lastEndedAt?: string | undefined;
  /** Verdicts of its nodes that evidence changed which came late. */
  corrections?: readonly Correction[];
  /** In words, what keeps nodes from being started: nodes that are out, pulls that fail. Asked only where nothing moves. */
  inTheWay: () => string;
}

export interface EngineHealth {
  reachable: boolean;
  message: string;
  since: string;
}

type Said = Pick<Condition, 'status' | 'reason' | 'message'>;
type Counted = Pick<NodeOpUpgradeStatus, 'phase' | 'message' | 'nodes'>;

const yes = (reason: string, message: string): Said => ({ status: 'True', reason, message });
const no = (reason: string, message: string): Said => ({ status: 'False', reason, message });

/**
 * The conditions of a NodeOpUpgrade, for people and for `kubectl wait`. The time of a transition is that of the known
 * condition as long as its status is the same.
 */
export function conditionsOf(
  upgrade: NodeOpUpgrade,
  rollout: RolloutStatus | undefined,
  counted: Counted,
  engine: EngineHealth,
  around: Around,
): Condition[] {
  const known = upgrade.status?.conditions ?? [];
  const generation = upgrade.metadata.generation ?? 0;
  const condition = (type: string, said: Said, since = new Date(around.atMs).toISOString()): Condition => {
    const before = known.find((one) => one.type === type);
    return {
      type,
      ...said,
      observedGeneration: generation,
      lastTransitionTime: before?.status === said.status ? before.lastTransitionTime : since,
    };
  };
  const { phase = 'Pending', message = '' } = counted;
  const ended = isFinal(rollout?.phase);
  const notYet = no(phase, 'it has not ended');
  return [
    condition('EngineReachable', engineSaid(engine), engine.since),
    condition('Progressing', progress(upgrade, rollout, counted, engine, around)),
    condition('Paused', paused(upgrade, rollout)),
    condition('Degraded', degraded(counted)),
    condition('Completed', phase === 'Completed' ? yes('Completed', message) : ended ? no(phase, message) : notYet),
    condition('Ended', ended ? yes(phase, message) : notYet),
    ...approvalNeeded(rollout).map((said) => condition('ApprovalNeeded', said)),
    ...asked(upgrade).map(({ at, ...said }) => condition('LastRequest', said, at)),
    ...corrected(around.corrections).map((said) => condition('VerdictsCorrected', said)),
  ];
}

function engineSaid({ reachable, message }: EngineHealth): Said {
  return reachable ? yes('Connected', message) : no('Unreachable', message);
}

function progress(
  upgrade: NodeOpUpgrade,
  rollout: RolloutStatus | undefined,
  { phase = 'Pending', message = '', nodes }: Counted,
  engine: EngineHealth,
  around: Around,
): Said {
  if (isFinal(phase)) return no(phase, message);
  if (!engine.reachable) return no('TemporalUnreachable', engine.message);
  if (phase === 'Cancelling') return yes(phase, message);
  if (rollout === undefined || phase === 'Pending') return beginning(upgrade, around);
  const inHand = nodes?.inFlight ?? 0;
  if (phase === 'Paused' && inHand === 0) return no('Paused', message);
  if (phase !== 'Running' || inHand > 0) return yes(phase, message);
  if (rollout.approval !== undefined) return no('ApprovalNeeded', message);
  // A soak is no standstill: the message has its end.
  if (rollout.soakUntil !== undefined && around.atMs - Date.parse(rollout.soakUntil) < STILL_MS)
    return yes(phase, message);
  const since = stillSince(upgrade, rollout, around);
  if (since === undefined || around.atMs - Date.parse(since) < STILL_MS) return yes(phase, message);
  return no('Waiting', `no node is in hand since ${since}: ${waitIn(message) ?? around.inTheWay()}`);
}

/** Since when nodes could have been started and none is in hand; undefined: only now. */
function stillSince({ status }: NodeOpUpgrade, { startedAt }: RolloutStatus, around: Around): string | undefined {
  const known = (type: string) => status?.conditions?.find((one) => one.type === type);
  const [paused, engine] = [known('Paused'), known('EngineReachable')];
  if (paused?.status === 'True' || engine?.status === 'False') return undefined;
  const times = [startedAt, around.lastEndedAt, paused?.lastTransitionTime, engine?.lastTransitionTime];
  const latest = times.map((time) => time ?? '').reduce((one, other) => (one > other ? one : other));
  return latest === '' ? undefined : latest;
}

/** Not begun: the worker takes it up within seconds, or there is none. */
function beginning(upgrade: NodeOpUpgrade, { atMs }: Around): Said {
  const before = upgrade.status?.conditions?.find(({ type }) => type === 'Progressing');
  const waited =
    before?.reason === 'Pending' &&
    before.observedGeneration === upgrade.metadata.generation &&
    atMs - Date.parse(before.lastTransitionTime) >= STILL_MS;
  if (!waited && before?.reason !== 'NotStarted') return yes('Pending', 'waiting for its rollout to start');
  return no(
    'NotStarted',
    'its rollout has not begun: does a worker run? kubectl get pods -A -l app.kubernetes.io/part-of=kairos-operator; the log of the watcher says whether a worker takes its tasks',
  );
}

function paused({ metadata }: NodeOpUpgrade, rollout: RolloutStatus | undefined): Said {
  const pause = rollout?.paused;
  if (pause === undefined || rollout === undefined || isFinal(rollout.phase))
    return no('NotPaused', 'nodes are started in their turn');
  const lift = resumeCommand(pause.by, { ...metadata, workflowID: rollout.workflowID });
  const reason = pause.by === 'kubectl' ? 'ByAnnotation' : 'ByTemporal';
  return yes(reason, `since ${pause.since}, by ${askedText(pause)}; to go on: ${lift}`);
}

/** Absent as long as every verdict stands. The phase of an attempt that has ended stays what it was. */
const corrected = (corrections: readonly Correction[] = []): Said[] =>
  corrections.length === 0
    ? []
    : [yes('LateEvidence', `evidence came late: ${correctionsText(corrections)}; see kubectl get kairosnodes`)];

/** Absent as long as no wave waits for a person. */
const approvalNeeded = (rollout: RolloutStatus | undefined): Said[] =>
  rollout?.approval === undefined || isFinal(rollout.phase)
    ? []
    : [yes('WaveWaits', `since ${rollout.approval.since}: ${rollout.message ?? ''}`)];

/** Absent as long as nobody has asked for anything. */
function asked(upgrade: NodeOpUpgrade): (Said & { at: string })[] {
  const last = lastRequest(upgrade);
  return last === undefined ? [] : [last];
}

function degraded({ phase, message = '', nodes }: Counted): Said {
  const failed = nodes?.failed ?? 0;
  if (failed > 0)
    return yes(
      'NodesFailed',
      `${failed} nodes did not reach the target: see status.rollout.failed, and kubectl get kairosnodes`,
    );
  if (phase === 'Failed') return yes('RolloutFailed', message);
  return no('NoFailures', 'no node has failed');
}
