import { STEP_LABEL } from '../api/names.ts';
import type { LabelSelector } from '../api/types.ts';
import { matches } from './selector.ts';

/** What must hold of the pods of a node while it soaks. */
export interface SoakChecks {
  /** Whether the pods of DaemonSets, and static pods, must be Ready. */
  daemonSets: boolean;
  /** How often a container may restart within the soak. */
  maxRestarts: number;
  /** How long the pods may take, beyond the soak itself. */
  timeoutMs: number;
  /** Pods that are not looked at. */
  ignorePods?: LabelSelector;
}

/** As much of a pod as a soak looks at. */
export interface SoakedPod {
  namespace: string;
  name: string;
  uid: string;
  labels: Record<string, string>;
  phase: string;
  reason?: string;
  message?: string;
  ready: boolean;
  deleting: boolean;
  mirror: boolean;
  owner?: { kind: string; name: string };
  containers: readonly SoakedContainer[];
  initContainers?: readonly SoakedContainer[];
}

interface SoakedContainer {
  name: string;
  restarts: number;
  waiting?: { reason: string; message: string };
  terminated?: Ending;
  lastEnd?: Ending;
}

interface Ending {
  exitCode: number;
  reason?: string;
  message?: string;
}

/** Restarts of containers, by pod UID and name, as they were when the soak began. */
export type Restarts = Readonly<Record<string, number>>;

/** What of a node's pods stands in the way of its soak. */
export interface Trouble {
  /** The same as long as it is the same pod and the same kind of trouble, whatever it says of it meanwhile. */
  key: string;
  /** Which pod, and what it says itself. */
  text: string;
}

/** Names that a node in hand carries along; a node on which more was broken has told enough. */
const NAMES_KEPT = 50;

/**
 * What was not Ready on a node before it was touched, by a name that outlives the pod: a DaemonSet, or a static or other
 * pod. What the upgrade did not break does not keep the node out. DaemonSets come first where there are too many.
 */
export function notReadyBefore(pods: Iterable<SoakedPod>): string[] {
  const broken = [...pods].filter((pod) => counts(pod) && !pod.ready);
  const rank = (pod: SoakedPod) => (belongsToNode(pod) ? 0 : 1);
  const sorted = broken.sort((one, other) => rank(one) - rank(other) || (nameOf(one) < nameOf(other) ? -1 : 1));
  return [...new Set(sorted.map(nameOf))].slice(0, NAMES_KEPT);
}

/** Where the counting of restarts begins. */
export function restartsOf(pods: Iterable<SoakedPod>): Restarts {
  const counted: Record<string, number> = {};
  for (const pod of pods) for (const { name, restarts } of pod.containers) counted[`${pod.uid}/${name}`] = restarts;
  return counted;
}

/**
 * What stands in the way of a soak, or undefined where nothing does: a pod of a DaemonSet, or a static one, that is not
 * Ready, or a container that restarted more than `maxRestarts` times since `from`. Looked at are the pods that are on the
 * node now and stay there, without those that were not Ready before the node was touched (`before`).
 */
export function findTrouble(
  pods: Iterable<SoakedPod>,
  checks: SoakChecks,
  from: Restarts,
  before: readonly string[] = [],
): Trouble | undefined {
  const known = new Set(before);
  const looked = [...pods].filter((pod) => counts(pod) && !known.has(nameOf(pod)) && !isIgnored(pod, checks));
  const unready = looked.filter((pod) => checks.daemonSets && belongsToNode(pod) && !pod.ready).sort(byKey)[0];
  if (unready !== undefined)
    return { key: `unready ${keyOf(unready)}`, text: `${described(unready)} is not Ready: ${lastWords(unready)}` };
  for (const pod of looked.sort(byKey)) {
    for (const container of pod.containers) {
      const restarted = container.restarts - (from[`${pod.uid}/${container.name}`] ?? 0);
      if (restarted > checks.maxRestarts)
        return {
          key: `restarts ${keyOf(pod)}`,
          text: `container ${container.name} of ${described(pod)} restarted ${restarted} times: ${lastWords(pod)}`,
        };
    }
  }
  return undefined;
}

/** Of `before`, what still is not Ready: worth a word, and no reason to keep the node. */
export function stillNotReady(pods: Iterable<SoakedPod>, before: readonly string[]): string[] {
  const now = new Set([...pods].filter((pod) => counts(pod) && !pod.ready).map(nameOf));
  return before.filter((name) => now.has(name));
}

/** A pod that has ended, or is leaving, says nothing about its node; nor do those of an upgrade. */
const counts = (pod: SoakedPod) => !pod.deleting && pod.phase !== 'Succeeded' && pod.labels[STEP_LABEL] === undefined;

/** Whether nobody but this node can run it. */
const belongsToNode = (pod: SoakedPod) => pod.mirror || pod.owner?.kind === 'DaemonSet';

const isIgnored = (pod: SoakedPod, { ignorePods }: SoakChecks) =>
  ignorePods !== undefined && matches(ignorePods, pod.labels);

const keyOf = (pod: SoakedPod) => `${pod.namespace}/${pod.name}`;
const byKey = (one: SoakedPod, other: SoakedPod) => (keyOf(one) < keyOf(other) ? -1 : 1);

const nameOf = (pod: SoakedPod) =>
  pod.owner?.kind === 'DaemonSet' ? `DaemonSet ${pod.namespace}/${pod.owner.name}` : `pod ${keyOf(pod)}`;

function described(pod: SoakedPod): string {
  if (pod.mirror) return `static pod ${keyOf(pod)}`;
  return pod.owner === undefined ? `pod ${keyOf(pod)}` : `pod ${keyOf(pod)} of ${pod.owner.kind} ${pod.owner.name}`;
}

/** What the pod says itself: kubelet's refusal, what a container waits for, and how it last ended. */
function lastWords(pod: SoakedPod): string {
  if (pod.phase === 'Failed' && pod.reason !== undefined) return `${pod.reason} ${pod.message ?? ''}`.trim();
  const init = (pod.initContainers ?? []).map((container) => wordsOf('init container', container));
  const own = pod.containers.map((container) => wordsOf('container', container));
  const ends = pod.containers.map(({ name, lastEnd }) => lastEnd && `container ${name} ${endText(lastEnd)}`);
  const silent =
    pod.phase === 'Running' ? 'it runs, but is not ready to serve' : `it is ${pod.phase}, and has no words`;
  return [...init, ...own, ...ends].find((words) => words !== undefined) ?? silent;
}

function wordsOf(kind: string, { name, waiting, terminated, lastEnd }: SoakedContainer): string | undefined {
  const ended = terminated ?? lastEnd;
  if (waiting === undefined && terminated === undefined) return undefined;
  const waits = waiting === undefined ? [] : [`waits: ${`${waiting.reason} ${waiting.message}`.trim()}`];
  return `${kind} ${name} ${[...waits, ...(ended === undefined ? [] : [endText(ended)])].join('; it ')}`;
}

const endText = ({ exitCode, reason = '', message = '' }: Ending) =>
  `ended with ${exitCode}${reason === '' ? '' : ` (${reason})`}${message.trim() === '' ? '' : `: ${message.trim().slice(-300)}`}`;
