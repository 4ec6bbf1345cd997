import { formatDuration } from '../../policy/duration.ts';
import { resolveBudget } from '../../policy/budget.ts';
import { resolveSpec } from '../../policy/strategy.ts';
import { LEAST_KILLS, PARTS, planChaos } from '../chaos.ts';
import { killedTooRarely, startChaos, type Chaos } from '../chaos-run.ts';
import { checkInvariants } from '../invariants.ts';
import { readNodes } from '../read-nodes.ts';
import type { DemoOptions } from './options.ts';
import { printFigures, printInvariants, type Outcome } from './report.ts';
import { showRollout, type ShownRollout } from './rollout.ts';
import { SAMPLE, TIMINGS, readSample, type CleanUp, type Stand } from './stand.ts';
import { printTable } from './table.ts';

/** Version in the sample's image. */
export const TARGET = 'v4.0.3-k3sv1.33.9+k3s1';

/** Applies the sample, shows its rollout (under chaos where asked for) and checks what must never happen. */
export async function upgradeCluster(
  stand: Stand,
  options: DemoOptions,
  signal: AbortSignal,
  cleanUp: CleanUp,
): Promise<Outcome> {
  const { text, upgrade } = readSample();
  const { maxUnavailable, soakMs } = resolveSpec(upgrade.spec);
  const places = resolveBudget(maxUnavailable, options.workers);
  console.log(`$ kubectl apply -f ${SAMPLE}\n${text}`);
  const rollout = showRollout(stand, upgrade);
  console.log(stand.kubectl(['apply', '-f', SAMPLE]));
  const chaos =
    options.story.kind === 'chaos' ? beginChaos(stand, rollout, options.story.seed, { soakMs, places }) : undefined;
  if (chaos !== undefined) cleanUp.push(() => chaos.stop());
  const end = await rollout.end(1, chaos === undefined ? signal : AbortSignal.any([signal, chaos.failed]));
  const left = chaos?.left ?? 0;
  await chaos?.finish();

  const { nodes, kairosNodes } = await readNodes(stand.client);
  printTable(kairosNodes, nodes);
  console.log(`\n${end.phase}: ${end.message}\n`);
  const { moments, breaches } = stand.observer;
  const recordings = stand.cluster.recordings();
  const invariants = checkInvariants({
    target: TARGET,
    maxUnavailable: places,
    moments,
    breaches,
    nodes,
    kairosNodes,
    recordings,
  });
  const held = printInvariants(invariants);
  await printFigures(stand, { fromMs: rollout.startedAtMs, toMs: end.endedAtMs, soakMs, places });
  const thorough = chaos === undefined || printKills(chaos, left);
  return {
    exitCode: held && thorough && end.phase === 'Completed' ? 0 : 1,
    phase: end.phase,
    makespanMs: end.endedAtMs - rollout.startedAtMs,
    invariants,
    ...(chaos && { kills: chaos.kills }),
  };
}

function beginChaos(
  stand: Stand,
  { view }: ShownRollout,
  seed: number,
  { soakMs, places }: { soakMs: number; places: number },
): Chaos {
  const recordings = stand.cluster.recordings();
  const controlPlane = recordings.filter((node) => node.controlPlane).length;
  const rounds = controlPlane + Math.ceil((recordings.length - controlPlane) / Math.max(1, places));
  const { pullMs, upgradeMs, bootMs, podStartMs } = TIMINGS;
  const durationMs = pullMs + rounds * (2 * podStartMs + upgradeMs + bootMs + soakMs);
  const plan = planChaos({ seed, durationMs, nodes: stand.cluster.nodes() });
  const lastMs = plan.at(-1)?.atMs ?? 0;
  console.log(
    `up to ${plan.length} kills within ${formatDuration(lastMs)}; undisturbed the upgrade would take about ${formatDuration(durationMs)}`,
  );
  return startChaos(plan, stand, (part, what) => view.note(part, what));
}

/** Says how often each part was killed; whether that was often enough. */
function printKills(chaos: Chaos, left: number): boolean {
  const counts = [...PARTS, 'etcd' as const].map((part) => `${part} ${chaos.kills[part]}`);
  console.log(`\nkilled                  ${counts.join(', ')}`);
  if (left > 0) console.log(`the rollout ended before ${left} more kills of the plan`);
  if (chaos.ended.length > 0) console.log(`ended by itself         ${chaos.ended.join(', ')}`);
  const rare = killedTooRarely(chaos.kills);
  if (rare.length === 0) return true;
  console.log(
    `FAILED  killed fewer than ${LEAST_KILLS} times: ${rare.join(', ')}; nothing is proven about them: take more nodes, or another SEED`,
  );
  return false;
}
