import { rolloutOfPlan, type NodeRef, type Place, type RolloutContext } from '../api/messages.ts';
import type { PlannedWave, PlanRisk } from '../api/plan-messages.ts';
import type { NodeView } from '../kube/nodes.ts';
import { whoIsInTheWay } from '../policy/budget.ts';
import { risk } from '../policy/plan-risks.ts';
import { trustedBootRefusal } from '../policy/trusted-boot.ts';
import type { ClusterView } from './cluster-view.ts';
import { closedGate, endedBefore } from './gates.ts';
import { readSuperseded } from './superseded.ts';
import { closedHealth, refreshHealth } from './health-gate.ts';
import { closedWindow } from './window-gate.ts';

/** A node of a plan, and under which budget it is taken out. */
export interface PlannedNode {
  ref: NodeRef;
  node: NodeView;
  place: Place;
}

/** Whether a node is in the hand of the rollout of the very resource that is planned. */
const inOwnHand = (view: ClusterView, { rolloutID }: RolloutContext, name: string): boolean =>
  view.kairosNodes.get(name)?.status.inHand?.rollout === rolloutOfPlan(rolloutID);

/**
 * Nodes that are planned and will be left as they are, by name, with why: those that another NodeOpUpgrade wants, and,
 * where a rollout runs already, those that it has in hand or that ended in it.
 */
export function leftAsTheyAre(
  view: ClusterView,
  context: RolloutContext,
  planned: readonly PlannedNode[],
): { notes: Map<string, string>; superseded: [name: string, why: string][] } {
  const notes = new Map<string, string>();
  const superseded: [string, string][] = [];
  for (const { ref, node } of planned) {
    const kairos = view.kairosNodes.get(ref.name);
    const winner = readSuperseded(view, context, node);
    if (inOwnHand(view, context, ref.name)) notes.set(ref.name, `in hand: ${kairos?.status.step ?? 'just taken'}`);
    else if (endedBefore(context, kairos))
      notes.set(ref.name, `ended in this attempt: ${kairos?.status.lastAttempt?.verdict}`);
    else if (winner !== undefined) {
      const why = `NodeOpUpgrade ${winner.by}, which was created later, wants ${winner.image} there`;
      superseded.push([ref.name, why]);
      notes.set(ref.name, `not touched: ${why}`);
    }
  }
  return { notes, superseded };
}

/** Why the image of a node with trusted boot would not be written, by its name. */
export const trustedBootRefusals = (
  view: ClusterView,
  { spec }: RolloutContext,
  planned: readonly PlannedNode[],
): Map<string, string> =>
  new Map(
    planned.flatMap(({ ref: { name }, node: { labels } }): [string, string][] => {
      const refused = trustedBootRefusal({ status: view.kairosNodes.get(name)?.status, labels }, spec);
      return refused === undefined ? [] : [[name, refused]];
    }),
  );

/**
 * Why each of these nodes would have to wait, as it is now. Not asked: what closes for all nodes alike, the image, which
 * is brought before a node's turn, and the budget, which is taken by those before it.
 */
export function closedNodes(
  view: ClusterView,
  context: RolloutContext,
  nodes: readonly PlannedNode[],
): [name: string, why: string][] {
  const { windows: _windows, healthGates: _healthGates, ...spec } = context.spec;
  return nodes.flatMap(({ ref, node, place }): [string, string][] => {
    const gate = closedGate(view, { ...context, spec, node: ref, place }, node, view.kairosNodes.get(ref.name));
    return gate === undefined || gate.gate === 'Image' || gate.gate === 'Budget' ? [] : [[ref.name, gate.reason]];
  });
}

/** What would keep all of the nodes waiting, as it is now: no window is open, or a health gate is closed. */
export async function closedForAll(view: ClusterView, context: RolloutContext, nodes: number): Promise<PlanRisk[]> {
  if (nodes === 0) return [];
  await refreshHealth(view, context);
  return [closedWindow(view, context), closedHealth(view, context)].flatMap((gate) =>
    gate === undefined
      ? []
      : [risk('Waits', 'GateClosed', nodes, `every node would wait, as it is now: ${gate.reason}`)],
  );
}

/**
 * Waves whose budget is taken already, by nodes that are not Ready, or that others have taken out: none of its nodes would
 * be started until one of those is back.
 * @param startable names of the nodes that could be started now: what keeps one of them out gives way
 */
export function takenBudgets(
  view: ClusterView,
  context: RolloutContext,
  waves: readonly PlannedWave[],
  startable: ReadonlySet<string>,
): PlanRisk[] {
  const out = [...view.outages.values()].filter(({ name }) => !inOwnHand(view, context, name) && !startable.has(name));
  return waves.flatMap(({ name, group, budget, nodes }) => {
    const rivals = whoIsInTheWay({ group, budget }, { name: '', controlPlane: group === 'control-plane' }, out);
    const waiting = nodes.filter((node) => startable.has(node.name));
    if (rivals === undefined || waiting.length === 0) return [];
    const text = `wave ${name}: out already are ${rivals.slice(0, 5).join(', ')}${rivals.length > 5 ? ` and ${rivals.length - 5} more` : ''}, and ${budget} may be out at once: none of its nodes would be started until that changes: kubectl get nodes`;
    return [risk('Waits', 'BudgetTaken', waiting.length, text)];
  });
}
