import { OPERATOR_FIELD_MANAGER } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { rolloutId } from '../kube/names.ts';
import { patchNodeOpUpgradeStatus } from '../kube/node-op-upgrades.ts';
import { isFinal } from '../policy/engine.ts';
import { inTheWay } from '../policy/in-the-way.ts';
import { summarize } from '../policy/summary.ts';
import type { WatcherContext } from './context.ts';

/**
 * Writes the counts, the nodes in flight and the phase of one NodeOpUpgrade, when they changed. The caller sees to it
 * that this happens at most once a second, in one process.
 */
export async function writeStatus(context: WatcherContext, key: string): Promise<void> {
  const upgrade = context.upgrades.get(key);
  if (upgrade === undefined) return;
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

/** Whether anything of this upgrade may still change. */
export function isSettled(upgrade: NodeOpUpgrade): boolean {
  const { rollout, phase, conditions } = upgrade.status ?? {};
  const { generation } = upgrade.metadata;
  // An earlier version wrote no such condition.
  const ended = conditions?.find(({ type }) => type === 'Ended');
  const said = ended?.status === 'True' && ended.observedGeneration === generation;
  return said && rollout?.generation === generation && isFinal(rollout?.phase) && phase === rollout?.phase;
}

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
