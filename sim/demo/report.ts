import { Client, Connection } from '@temporalio/client';
import { formatDuration } from '../../policy/duration.ts';
import type { Chaos } from '../chaos-run.ts';
import type { Invariant } from '../invariants.ts';
import { countEvents, countRequests, idealMs } from './figures.ts';
import { TIMINGS, type Stand } from './stand.ts';

/** How a demo ended. */
export interface Outcome {
  readonly exitCode: 0 | 1;
  /** Of the rollout. */
  readonly phase: string;
  readonly makespanMs: number;
  readonly invariants: readonly Invariant[];
  readonly kills?: Chaos['kills'];
}

/** Prints which promises held, and says whether all did. */
export function printInvariants(invariants: readonly Invariant[]): boolean {
  for (const { name, broken } of invariants) {
    if (broken.length === 0) console.log(`held    ${name}`);
    else console.log(`BROKEN  ${name}: ${broken.slice(0, 3).join('; ')}`);
  }
  return invariants.every(({ broken }) => broken.length === 0);
}

/** One line for whoever runs many demos: words of `name=value`. */
export function resultLine({ exitCode, phase, makespanMs, invariants, kills }: Outcome): string {
  const broken = invariants.filter(({ broken }) => broken.length > 0).length;
  const words = { exit: exitCode, phase, seconds: Math.round(makespanMs / 1000), broken, ...kills };
  return `result ${Object.entries(words)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')}`;
}

export interface Figures {
  readonly fromMs: number;
  readonly toMs: number;
  readonly soakMs: number;
  /** Workers out at once. */
  readonly places: number;
}

/** Prints what the upgrade took, beside the least that it could have taken. */
export async function printFigures(stand: Stand, { fromMs, toMs, soakMs, places }: Figures): Promise<void> {
  const { cluster, temporal, observer } = stand;
  const nodes = cluster.nodes().length;
  const { pullMs, podStartMs } = TIMINGS;
  const ideal = idealMs(cluster.recordings(), { drainMs: observer.drainMs, pullMs, podStartMs, soakMs, places });
  const connection = await Connection.connect({ address: temporal.address });
  const events = await countEvents(new Client({ connection }));
  await connection.close();
  const { auditLog } = cluster.controlPlane;
  const requests = auditLog === undefined ? {} : countRequests(auditLog, fromMs, toMs);
  const all = Object.values(requests).reduce((sum, count) => sum + count, 0);
  const accounts = Object.entries(requests).map(([account, count]) => `${account} ${(count / nodes).toFixed(1)}`);
  const firstPod =
    observer.firstPodAtMs === undefined ? 'never' : `${((observer.firstPodAtMs - fromMs) / 1000).toFixed(2)} s`;
  const makespan = toMs - fromMs;
  console.log(`
apply to first pod      ${firstPod}
makespan                ${formatDuration(makespan)}, ideal ${formatDuration(ideal)} (${(makespan / ideal).toFixed(2)} times)
history events a node   ${(events / nodes).toFixed(0)}
API requests a node     ${(all / nodes).toFixed(1)} (${accounts.join(', ')})`);
}
