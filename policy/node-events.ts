import type { Blocker, BlockerReason, KairosNodeStatus, Verdict } from '../api/types.ts';
import { blockerText } from './drain-blockers.ts';
import { type Notice, freshNotices, retryCommand } from './events.ts';
import { isFailure } from './placement.ts';

type InHand = NonNullable<KairosNodeStatus['inHand']>;
type LastAttempt = NonNullable<KairosNodeStatus['lastAttempt']>;
type Asker = NonNullable<LastAttempt['request']>;

export interface TalkingNode {
  name: string;
  uid: string;
  status: KairosNodeStatus;
}

/** What is said about a KairosNode that now is this: at most five Normal Events in an upgrade that goes well. */
export function newsOfNode(before: TalkingNode | undefined, now: TalkingNode, atMs: number): Notice[] {
  const earlier = before?.uid === now.uid ? before : undefined;
  const fresh = freshNotices(earlier && noticesOfNode(earlier), noticesOfNode(now), atMs);
  const givenBack = earlier === undefined ? undefined : givenBackNotice(now.name, earlier.status, now.status);
  return givenBack === undefined ? fresh : [...fresh, givenBack];
}

/** What of this belongs to the NodeOpUpgrade, too: a node that failed, and what holds one up, once for all its nodes. */
export function newsForUpgrade(node: TalkingNode, news: readonly Notice[]): Notice[] {
  const { lastAttempt } = node.status;
  return news.flatMap((notice): Notice[] => {
    if (notice.reason === lastAttempt?.verdict && isFailure(lastAttempt.verdict) && lastAttempt.request !== undefined)
      return [nodeFailed(lastAttempt.request, { ...lastAttempt, name: node.name }, notice.at)];
    if (notice.reason !== 'DrainBlocked' && notice.reason !== 'PullFailing') return [];
    return [{ ...notice, key: sharedKey(notice), message: `node ${node.name}: ${notice.message}` }];
  });
}

/** Said from the node as soon as it has ended, and from its rollout, which also names nodes that were never in hand. */
export function nodeFailed(
  { generation, attempt }: Pick<Asker, 'generation' | 'attempt'>,
  { name, verdict, message = '' }: { name: string; verdict: Verdict; message?: string | undefined },
  at: string | undefined,
): Notice {
  return {
    key: `${generation}/${attempt}/${name}/${verdict}`,
    type: 'Warning',
    reason: 'NodeFailed',
    message: `node ${name}: ${verdict}: ${message}`,
    ...(at === undefined ? {} : { at }),
  };
}

/** One that belongs to all nodes which meet it: the key of a blocker or of an image begins with those of the node. */
const sharedKey = ({ key }: Notice) => key.slice(key.indexOf('|') + 1);

function noticesOfNode({ name, status }: TalkingNode): Notice[] {
  const { inHand, upgradeState } = status;
  return [
    ...(upgradeState === 'InProgress' && inHand !== undefined ? progress(inHand, status) : pull(status)),
    ...verdict(name, status),
    ...corrected(status),
  ];
}

function progress(inHand: InHand, status: KairosNodeStatus): Notice[] {
  const { request, startedAt, image, version, from, bootID } = inHand;
  const { step, stepSince, message = '', bootState, observedVersion } = status;
  const key = `${asked(request)}/${startedAt}`;
  const at = stepSince === undefined ? {} : { at: stepSince };
  const normal = (reason: Notice['reason'], text: string): Notice => ({
    key,
    type: 'Normal',
    reason,
    message: text,
    ...at,
  });
  const who = request.kind === 'NodeOpUpgrade' ? `${request.namespace}/${request.name}` : 'its own spec.image';
  const taken: Notice = {
    ...normal(
      'TakenInHand',
      `by ${who}, attempt ${request.attempt}: ${from === undefined ? '' : `from ${from} `}to ${version} (${image}); workflow ${status.workflowID ?? ''}`,
    ),
    at: startedAt,
  };
  const rebooted =
    (step === 'Reboot' || step === 'Verify' || step === 'Soak') &&
    status.bootID !== undefined &&
    status.bootID !== bootID;
  const newBoot = `its agent reports from a new boot, slot ${bootState ?? 'unknown'}, version ${observedVersion ?? 'unknown'}`;
  return [
    taken,
    ...recovered(key, inHand, step),
    ...(step === 'Drain' ? blocked(key, status.blockers ?? []) : []),
    ...drainNews(key, inHand),
    ...(step === 'Upgrade'
      ? [normal('Drained', `the drain is over; ${message}; from here on the node is taken to its verdict`)]
      : []),
    ...slow(key, message, at),
    ...(step === 'Reboot' ? [normal('ImageWritten', `the image is written; ${message}`)] : []),
    ...(step === 'Reboot' && message.includes('forced')
      ? [{ ...normal('RebootForced', `${message}; look at the console of the machine`), type: 'Warning' as const }]
      : []),
    ...(rebooted ? [normal('Rebooted', newBoot)] : []),
  ];
}

/** Its workflow was terminated, or lost with Temporal's database, past the point of no return. */
function recovered(key: string, { recoveredAt }: InHand, step: string | undefined): Notice[] {
  if (recoveredAt === undefined) return [];
  return [
    {
      key: `${key}|${recoveredAt}`,
      type: 'Warning',
      reason: 'Recovered',
      message: `its workflow was terminated or lost: another one goes on at ${step ?? 'where it was'}, and takes the node to its verdict. Nothing is to be done`,
      at: recoveredAt,
    },
  ];
}

/** What holds a drain, once for each budget: many pods may wait for one. Pods that end by themselves hold nothing. */
function blocked(key: string, blockers: readonly Blocker[]): Notice[] {
  const first = new Map<string, Blocker>();
  for (const blocker of blockers) {
    const what = `${blocker.pod.split('/')[0] ?? ''}/${blocker.reason}/${blocker.budget ?? ''}`;
    if (blocker.reason !== 'Completing' && !first.has(what)) first.set(what, blocker);
  }
  return [...first].map(([what, blocker]) => ({
    key: `${key}|${what}`,
    type: 'Warning',
    reason: 'DrainBlocked',
    message: `${blockerText(blocker)}. ${LETS_GO[blocker.reason](blocker.pod.split('/')[0] ?? '')}`,
    at: blocker.since,
  }));
}

const AT_THE_DEADLINE =
  'At its deadline strategy.drain.onTimeout decides; by default the node is given back as Failed, untouched';

const LETS_GO: Record<BlockerReason, (namespace: string) => string> = {
  Budget: (namespace) =>
    `kubectl get pdb -n ${namespace}: let it allow a disruption (another replica elsewhere, a lower minAvailable), or delete the pod, which asks no budget. ${AT_THE_DEADLINE}`,
  SeveralBudgets: (namespace) => `kubectl get pdb -n ${namespace}. ${AT_THE_DEADLINE}`,
  NamespaceTerminating: (namespace) =>
    `kubectl get namespace ${namespace} -o yaml says what keeps it. ${AT_THE_DEADLINE}`,
  Completing: () => 'it is evicted then',
  Terminating: () => AT_THE_DEADLINE,
  VolumeAttached: () => AT_THE_DEADLINE,
};

/** What the drain did that is not in its steps. */
function drainNews(key: string, { drain }: InHand): Notice[] {
  if (drain === undefined) return [];
  const { outcome: reason, message } = drain;
  return [
    { key: `${key}|${message.length}`, type: reason === 'NothingEvicted' ? 'Normal' : 'Warning', reason, message },
  ];
}

/** A write that takes long: said once for each step, though the message goes on counting. */
function slow(key: string, message: string, at: { at?: string }): Notice[] {
  const found = /^writing (\S+) for \S+: slow, and not killed; (.*)$/.exec(message);
  if (found === null) return [];
  const [, image = '', look = ''] = found;
  return [
    {
      key: `${key}|${image}`,
      type: 'Warning',
      reason: 'UpgradeSlow',
      message: `the image takes long to be written. It is not killed, as a machine with a slot half written may not boot: ${look}`,
      ...at,
    },
  ];
}

/** A kubelet says why only now and then: in between it says that it waits before it tries again. */
const PULL_TROUBLE =
  /^pulling (\S+): ((?:ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable)\b.*)$/s;
const BARE_BACK_OFF = /^ImagePullBackOff\s+Back-off pulling image(?:\s+"[^"]*")?\s*$/;

function pull({ message = '' }: KairosNodeStatus): Notice[] {
  const trouble = PULL_TROUBLE.exec(message);
  if (trouble === null) return [];
  const [, image = '', words = ''] = trouble;
  if (BARE_BACK_OFF.test(words)) return [];
  return [
    {
      key: `|${image}`,
      type: 'Warning',
      reason: 'PullFailing',
      message: `cannot pull ${image}: ${words}. The node is untouched. Check the name of the image, that the node reaches the registry, and spec.imagePullSecrets; it is tried until strategy.prePull.timeout`,
    },
  ];
}

function verdict(name: string, { lastAttempt }: KairosNodeStatus): Notice[] {
  if (lastAttempt === undefined) return [];
  const { verdict: word, message = '', request, rollout, specGeneration, retry = '', image, finishedAt } = lastAttempt;
  const asker = request === undefined ? rollout : asked(request);
  const key = [asker, specGeneration, retry, image].join('/');
  return [{ key, ...verdictText(name, word, message, request), at: finishedAt }];
}

/** How a node ended, in a sentence, and the command that takes it on from there. */
export function verdictText(
  node: string,
  word: Verdict,
  message: string,
  request: Pick<Asker, 'kind' | 'namespace' | 'name'> | undefined,
): Pick<Notice, 'type' | 'reason' | 'message'> {
  if (!isFailure(word)) return { type: 'Normal', reason: word, message: cut(message, 1000) };
  const asks = word === 'RolledBack' ? 'With a mended image, edit spec.image. To try the same again:' : 'To try again:';
  const next = request === undefined ? '' : `. ${asks} ${retryCommand(request, node)}`;
  return { type: 'Warning', reason: word, message: `${cut(message, 1000 - next.length)}${next}` };
}

/** Evidence that came after the end of an attempt. */
function corrected({ conditions = [], lastAttempt }: KairosNodeStatus): Notice[] {
  const found = conditions.find(({ type, status }) => type === 'VerdictCorrected' && status === 'True');
  if (found === undefined || lastAttempt === undefined) return [];
  const { request, rollout, verdict: word, message = '' } = lastAttempt;
  return [
    {
      key: `${request === undefined ? rollout : asked(request)}/${word}`,
      type: isFailure(word) ? 'Warning' : 'Normal',
      reason: 'VerdictCorrected',
      message: `now ${word}: ${cut(message, 400)}; ${found.message}`,
      at: found.lastTransitionTime,
    },
  ];
}

/** Out of our hand without a verdict: its workflow was lost, or it rebooted by itself, before its image was touched. */
function givenBackNotice(name: string, before: KairosNodeStatus, now: KairosNodeStatus): Notice | undefined {
  const gone = before.upgradeState === 'InProgress' && before.inHand !== undefined && now.inHand === undefined;
  if (!gone || now.upgradeState === 'InProgress') return undefined;
  if (before.lastAttempt?.finishedAt !== now.lastAttempt?.finishedAt) return undefined;
  const { request, startedAt } = before.inHand ?? { request: undefined, startedAt: '' };
  return {
    key: `${request === undefined ? '' : asked(request)}/${startedAt}`,
    type: 'Warning',
    reason: 'GivenBack',
    message: `${now.message ?? 'back in service, its image was not touched'}. Where its rollout ends without it: ${request === undefined ? 'kairos.io/retry' : retryCommand(request, name)}`,
  };
}

const asked = ({ kind, namespace, name, uid, generation, attempt }: Asker) =>
  [kind, namespace, name, uid, generation, attempt].join('/');

const cut = (text: string, length: number) => (text.length <= length ? text : `${text.slice(0, length - 1)}…`);
