import { OPERATOR_FIELD_MANAGER } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { rolloutId } from '../kube/names.ts';
import { patchNodeOpUpgradeStatus } from '../kube/node-op-upgrades.ts';
import { correctionsOf, noteCorrections } from '../policy/corrections.ts';
import { isFinal } from '../policy/engine.ts';
import { inTheWay } from '../policy/in-the-way.ts';
import { lastRequest } from '../policy/requests.ts';
import { summarize } from '../policy/summary.ts';
import type { WatcherContext } from './context.ts';

/**
 * Writes the counts, the nodes in flight and the phase of one NodeOpUpgrade, when they changed. The caller sees to it
 * that this happens at most once a second, in one process.
 */
export async function writeStatus(context: WatcherContext, key: string): Promise<void> {
  const upgrade = context.upgrades.get(key);
  if (upgrade === undefined) return;
  await writeCorrections(context, upgrade);
  const { namespace = '', name, uid = '' } = upgrade.metadata;
  const workflowID = rolloutId(context.cluster.id, namespace, name);
  const nodes = [...context.kairosNodes.values()].filter((node) => node.status.rollout === workflowID);
  const around = { atMs: Date.now(), inTheWay: () => inTheWay(upgrade.spec.image, nearby(context)) };
  const summary = summarize(upgrade, nodes, context.engine.health(), around);
  if (sameStatus(upgrade, summary)) return;
  try {
    const status = { ...summary, lastUpdated: new Date().toISOString() };
    await patchNodeOpUpgradeStatus(
      context.client,
      namespace,
      name,
      { metadata: { uid }, status },
      OPERATOR_FIELD_MANAGER,
    );
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}

/**
 * Notes beside the failed nodes of a rollout that has ended what they turned out to be. While it has not, the list is the
 * rollout's own to write. Another writer of this moment, such as the next attempt, comes first.
 */
async function writeCorrections(context: WatcherContext, upgrade: NodeOpUpgrade): Promise<void> {
  const failed = correctedList(context, upgrade);
  if (failed === undefined) return;
  const { namespace = '', name, uid = '', resourceVersion } = upgrade.metadata;
  const metadata = { uid, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
  const body = { metadata, status: { rollout: { failed } } };
  try {
    await patchNodeOpUpgradeStatus(context.client, namespace, name, body, OPERATOR_FIELD_MANAGER);
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict')) throw error;
  }
}

/** What the list of failed nodes should say, or undefined where it does, or is not ours to write. */
function correctedList({ kairosNodes }: Pick<WatcherContext, 'kairosNodes'>, upgrade: NodeOpUpgrade) {
  const rollout = upgrade.status?.rollout;
  if (rollout === undefined || !isFinal(rollout.phase)) return undefined;
  const corrections = correctionsOf(upgrade, rollout, (node) => kairosNodes.get(node)?.status.lastAttempt);
  return noteCorrections(rollout, corrections);
}

/** Whether nothing of this upgrade may still change, but for verdicts that late evidence corrects. */
export function isSettled(context: Pick<WatcherContext, 'kairosNodes'>, upgrade: NodeOpUpgrade): boolean {
  const { rollout, phase, conditions } = upgrade.status ?? {};
  const { generation } = upgrade.metadata;
  // An earlier version wrote no such condition.
  const ended = conditions?.find(({ type }) => type === 'Ended');
  const said = ended?.status === 'True' && ended.observedGeneration === generation;
  const settled = said && rollout?.generation === generation && isFinal(rollout?.phase) && phase === rollout?.phase;
  if (!settled) return false;
  if (!saysLastRequest(upgrade)) return false;
  const corrected = rollout?.failed?.some(({ correctedTo }) => correctedTo !== undefined) ?? false;
  const tells = conditions?.some(({ type }) => type === 'VerdictsCorrected') ?? false;
  return corrected === tells && correctedList(context, upgrade) === undefined;
}

/** What is asked after the end is answered, too. */
const saysLastRequest = (upgrade: NodeOpUpgrade): boolean =>
  lastRequest(upgrade)?.message === upgrade.status?.conditions?.find(({ type }) => type === 'LastRequest')?.message;

type Summary = ReturnType<typeof summarize>;

const nearby = ({ nodes, kairosNodes }: WatcherContext) =>
  [...nodes.values()].map(({ name, ready, unschedulable, owner }) => ({
    name,
    ready,
    unschedulable,
    status: kairosNodes.get(name)?.status,
    ...(owner === undefined ? {} : { owner }),
  }));

function sameStatus(upgrade: NodeOpUpgrade, summary: Summary): boolean {
  const known: Record<string, unknown> = { ...upgrade.status };
  return Object.entries(summary).every(([key, value]) => canonical(known[key]) === canonical(value));
}

/** JSON with sorted keys: the API server orders them by its own schema. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
