import { readFileSync } from 'node:fs';
import type { Client } from '@temporalio/client';
import type { NodeRecording } from '../cluster.ts';

/**
 * The shortest time in which the same nodes could be upgraded in the same order: the first pull, the control plane one
 * after the other, then the workers, longest work first over `places` lanes. Made of durations that the simulator
 * recorded: what each node's drain, write, reboot and soak took by themselves.
 */
export function idealMs(
  recordings: readonly NodeRecording[],
  parts: { drainMs: ReadonlyMap<string, number>; pullMs: number; podStartMs: number; soakMs: number; places: number },
): number {
  // Two pods start on every node: the one that writes and the one that reboots.
  const cost = ({ node, upgradeMs, bootMs }: NodeRecording) =>
    (parts.drainMs.get(node) ?? 0) + 2 * parts.podStartMs + upgradeMs + bootMs + parts.soakMs;
  const sum = (numbers: number[]) => numbers.reduce((all, one) => all + one, 0);
  const lanes = Array.from({ length: parts.places }, () => 0);
  const workers = recordings
    .filter(({ controlPlane }) => !controlPlane)
    .map(cost)
    .sort((a, b) => b - a);
  for (const work of workers) {
    const shortest = lanes.indexOf(Math.min(...lanes));
    lanes[shortest] = (lanes[shortest] ?? 0) + work;
  }
  return parts.pullMs + sum(recordings.filter(({ controlPlane }) => controlPlane).map(cost)) + Math.max(0, ...lanes);
}

/** API requests of the operator's ServiceAccounts between two times, by account; watches that stay open count once. */
export function countRequests(auditLog: string, fromMs: number, toMs: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of readFileSync(auditLog, 'utf8').split('\n')) {
    if (line === '') continue;
    const event = JSON.parse(line) as { user?: { username?: string }; stage: string; requestReceivedTimestamp: string };
    const at = Date.parse(event.requestReceivedTimestamp);
    if (event.stage !== 'ResponseComplete' || at < fromMs || at > toMs) continue;
    const account = event.user?.username?.split(':').at(-1) ?? 'unknown';
    counts[account] = (counts[account] ?? 0) + 1;
  }
  return counts;
}

/** Events in the histories of a rollout and everything under it. */
export async function countEvents(client: Client): Promise<number> {
  let events = 0;
  for await (const workflow of client.workflow.list()) events += workflow.historyLength;
  return events;
}
