import { Gauge, type Registry } from 'prom-client';
import { STEPS, UPGRADE_STATES } from '../api/schemas/kairos-node.ts';
import { ROLLOUT_PHASES } from '../api/schemas/rollout-phase.ts';
import { heldFor } from '../policy/recovery.ts';
import type { NodeView } from '../kube/nodes.ts';
import type { WatcherContext } from './context.ts';

type Watched = Pick<WatcherContext, 'upgrades' | 'kairosNodes' | 'nodes'>;

const WHY_OUT = ['in_hand', 'held', 'cordoned', 'not_ready'] as const;

/**
 * How upgrades stand, counted at each scrape from what the watcher knows of the API server. Every watcher tells the same:
 * take the maximum over them, not the sum.
 */
export function registerUpgradeMetrics(registry: Registry, { upgrades, kairosNodes, nodes }: Watched): void {
  const counted = (
    name: string,
    help: string,
    { label, values }: { label: string; values: readonly string[] },
    list: () => Iterable<string>,
  ) =>
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [registry],
      collect() {
        for (const value of values) this.set({ [label]: value }, 0);
        for (const value of list()) this.inc({ [label]: value });
      },
    });
  counted(
    'kairos_rollouts',
    'NodeOpUpgrades by the phase of their rollout.',
    { label: 'phase', values: ROLLOUT_PHASES },
    () => [...upgrades.values()].map(({ status }) => status?.phase ?? 'Pending'),
  );
  counted(
    'kairos_nodes',
    'KairosNodes by how their last upgrade stands.',
    { label: 'upgrade_state', values: UPGRADE_STATES },
    () => [...kairosNodes.values()].map(({ status }) => status.upgradeState ?? 'Idle'),
  );
  counted(
    'kairos_nodes_in_hand',
    'Nodes that are being upgraded, by the step that they are in.',
    { label: 'step', values: STEPS },
    () =>
      [...kairosNodes.values()].flatMap(({ status }) => (status.inHand === undefined ? [] : (status.step ?? 'Mark'))),
  );
  counted(
    'kairos_nodes_out',
    'Nodes that are not in service, by why: in the hand of an upgrade, held after one, cordoned by somebody else, or not Ready.',
    { label: 'reason', values: WHY_OUT },
    () => [...nodes.values()].flatMap((node) => whyOut(node) ?? []),
  );
}

function whyOut({ owner, unschedulable, ready }: NodeView): (typeof WHY_OUT)[number] | undefined {
  if (heldFor(owner) !== undefined) return 'held';
  if (owner !== undefined) return 'in_hand';
  if (unschedulable) return 'cordoned';
  return ready ? undefined : 'not_ready';
}
