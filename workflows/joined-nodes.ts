import type { JoinedNodes, Plan, PlannedWave } from '../api/plan-messages.ts';

/**
 * Rounds of one rollout: where nodes go on joining, it ends none the less, and the next attempt opens for those that
 * come later.
 */
export const MOST_ROUNDS = 20;

/** Tells nodes that joined while a rollout runs from those that its plan knew. */
export class JoinedLater {
  private readonly uids: Set<string>;
  private readonly names: Set<string>;
  private readonly plan: Plan;

  constructor(plan: Plan) {
    this.plan = plan;
    const { controlPlane, workers, waves = [] } = plan;
    const planned = [...controlPlane, ...workers, ...waves.flatMap(({ nodes }) => nodes)];
    this.uids = new Set(planned.map(({ uid }) => uid));
    // What was selected and left alone did not join later, whatever it has reported since.
    this.names = new Set(plan.leftAlone.map(({ name }) => name));
  }

  /** The waves of those nodes that are new, the control plane before the workers; from now on they are known. */
  waves(round: number, found: JoinedNodes): PlannedWave[] {
    const fresh = (nodes: JoinedNodes['workers']) =>
      nodes.filter(({ uid, name }) => !this.uids.has(uid) && !this.names.has(name));
    const waves: PlannedWave[] = [
      {
        name: `joined-${round}-control-plane`,
        group: 'control-plane',
        nodes: fresh(found.controlPlane),
        budget: 1,
      },
      { name: `joined-${round}`, group: 'worker', nodes: fresh(found.workers), budget: this.plan.maxUnavailable },
    ];
    for (const { nodes } of waves) for (const { uid } of nodes) this.uids.add(uid);
    return waves.filter(({ nodes }) => nodes.length > 0);
  }
}
