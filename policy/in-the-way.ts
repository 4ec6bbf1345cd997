import type { KairosNodeStatus } from '../api/types.ts';
import { byName } from './order.ts';
import { waitsAtGate } from './gates.ts';
import { heldFor } from './recovery.ts';

const NAMED = 5;

/** A node as far as it may keep others waiting. */
export interface NearbyNode {
  name: string;
  ready: boolean;
  unschedulable: boolean;
  /** The owner annotation. */
  owner?: string;
  status?: KairosNodeStatus | undefined;
}

/**
 * What may keep the nodes of a rollout from being started, in words: nodes that wait at a gate, nodes of the cluster that
 * are out, each with why and what to do, and pulls of its image that have not ended.
 */
export function inTheWay(image: string, nodes: Iterable<NearbyNode>): string {
  const sorted = [...nodes].sort(byName);
  const out = sorted.flatMap((node) => {
    const why = whyOut(node);
    return why === undefined ? [] : [`${node.name} (${why})`];
  });
  const pulls = sorted.flatMap(({ name, status }) =>
    status?.upgradeState !== 'InProgress' && status?.message?.startsWith(`pulling ${image}: `) === true
      ? [`${name} ${status.message}`]
      : [],
  );
  const waiting = sorted.flatMap(({ status }) =>
    status !== undefined && waitsAtGate(status) && status.message !== undefined
      ? [`${status.message} (since ${status.stepSince ?? 'just now'})`]
      : [],
  );
  const parts = [
    ...(waiting.length === 0 ? [] : [listed(waiting)]),
    ...(out.length === 0 ? [] : [`out of service are ${listed(out)}; each of them takes a place in the budget`]),
    ...(pulls.length === 0 ? [] : [`last heard of pulls: ${listed(pulls)}`]),
  ];
  return parts.length > 0 ? parts.join('. ') : 'every node is in service; the image may still be being pulled';
}

function whyOut({ name, ready, unschedulable, owner, status }: NearbyNode): string | undefined {
  const held = heldFor(owner);
  if (held !== undefined) return `held for ${held}: see kubectl describe kairosnode ${name}`;
  const request = status?.inHand?.request;
  if (owner !== undefined)
    return request === undefined
      ? `in the hand of ${owner}`
      : `in the hand of ${request.kind} ${request.namespace}/${request.name}`;
  if (unschedulable) return `cordoned by somebody else: kubectl uncordon ${name} when it may be upgraded`;
  return ready ? undefined : 'not Ready';
}

const listed = (names: readonly string[]) =>
  names.slice(0, NAMED).join(', ') + (names.length > NAMED ? ` and ${names.length - NAMED} more` : '');
