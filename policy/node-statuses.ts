import type { KairosNodeStatus, NodeStatusEntry, Step } from '../api/types.ts';
import { waitsAtGate } from './gates.ts';
import { byName } from './order.ts';
import { isDone, isFailure } from './placement.ts';

/** How many nodes the resource has room for. */
const LISTED = 100;
const LONGEST_MESSAGE = 190;

interface Named {
  name: string;
  status: KairosNodeStatus;
}

/**
 * The nodes of an attempt in the words of the Go operator's `status.nodeStatuses`, bounded: those that failed, then those
 * in hand and those that wait, then the rest, each by name.
 * @param ended the nodes whose last attempt is of this attempt of the rollout
 * @param leftOut names of those that people left out: they are no failures
 */
export function nodeStatuses(
  nodes: readonly Named[],
  ended: readonly Named[],
  leftOut: ReadonlySet<string> = new Set(),
): { entries: Record<string, NodeStatusEntry>; leftOut: number } {
  const over = new Set(ended);
  const shown = nodes.flatMap((node) => {
    const entry = over.has(node) ? endedEntry(node.status, leftOut.has(node.name)) : openEntry(node.status);
    return entry === undefined ? [] : [{ name: node.name, entry }];
  });
  const rank = ({ entry }: { entry: NodeStatusEntry }) => ORDER.indexOf(entry.phase);
  shown.sort((a, b) => rank(a) - rank(b) || byName(a, b));
  return {
    entries: Object.fromEntries(shown.slice(0, LISTED).map(({ name, entry }) => [name, entry])),
    leftOut: Math.max(0, shown.length - LISTED),
  };
}

const ORDER: readonly NodeStatusEntry['phase'][] = ['Failed', 'Running', 'Pending', 'Completed'];

/** Steps that come after the node's new boot. */
const BOOTED: ReadonlySet<Step> = new Set(['Verify', 'Soak', 'Recovery', 'Uncordon']);

function openEntry(status: KairosNodeStatus): NodeStatusEntry | undefined {
  const inHand = status.upgradeState === 'InProgress';
  if (!inHand && !waitsAtGate(status)) return undefined;
  const steps = [...(status.inHand?.steps?.map(({ step }) => step) ?? []), ...(status.step ? [status.step] : [])];
  return entryOf(inHand ? 'Running' : 'Pending', status.message, rebootStatus(steps), status.stepSince);
}

function endedEntry({ lastAttempt }: KairosNodeStatus, leftOut: boolean): NodeStatusEntry | undefined {
  if (lastAttempt === undefined) return undefined;
  const { verdict, message, steps = [], finishedAt } = lastAttempt;
  const phase = isFailure(verdict) && !leftOut ? 'Failed' : isDone(verdict) ? 'Completed' : 'Pending';
  const text = message === undefined ? verdict : `${verdict}: ${message}`;
  return entryOf(phase, text, rebootStatus(steps.map(({ step }) => step)), finishedAt);
}

function entryOf(
  phase: NodeStatusEntry['phase'],
  message: string | undefined,
  reboot: NonNullable<NodeStatusEntry['rebootStatus']>,
  since: string | undefined,
): NodeStatusEntry {
  return {
    phase,
    ...(message === undefined ? {} : { message: message.slice(0, LONGEST_MESSAGE) }),
    rebootStatus: reboot,
    ...(since === undefined ? {} : { lastUpdated: since }),
  };
}

function rebootStatus(steps: readonly Step[]): NonNullable<NodeStatusEntry['rebootStatus']> {
  if (!steps.includes('Reboot')) return 'not-requested';
  return steps.some((step) => BOOTED.has(step)) ? 'completed' : 'pending';
}
