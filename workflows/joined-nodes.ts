import type { KnownNodes } from '../api/messages.ts';
import type { JoinedNodes, Plan, PlannedWave } from '../api/plan-messages.ts';

/**
 * Rounds of one rollout: where nodes go on joining, it ends none the less, and the next attempt opens for those that
 * come later.
 */
const MOST_ROUNDS = 20;

/** Tells nodes that joined while a rollout runs from those that its plan knew. */
export class JoinedLater {
  private readonly uids: Set<string>;
  private readonly names: Set<string>;
  private readonly plan: Plan;
  private round: number;

  /** `before`: what an earlier run of this rollout knew. */
  constructor(plan: Plan, before: KnownNodes = { round: 0, uids: [] }) {
    this.plan = plan;
    this.round = before.round;
    const planned = [plan.controlPlane, plan.workers, ...(plan.waves ?? []).map(({ nodes }) => nodes)];
    this.uids = new Set([...before.uids, ...planned.flat().map(({ uid }) => uid)]);
    // What was selected and left alone did not join later, whatever it has reported since.
    this.names = new Set(plan.leftAlone.map(({ name }) => name));
  }

  /** Whether another look is worth it: where nodes go on joining, the rollout ends none the less. */
  mayGoOn(): boolean {
    return this.round < MOST_ROUNDS;
  }

  /** For a run that continues this one. */
  get known(): KnownNodes {
    return { round: this.round, uids: [...this.uids] };
  }

  /** The waves of those nodes that are new, the control plane before the workers; from now on they are known. */
  waves(found: JoinedNodes): PlannedWave[] {
    this.round += 1;
    const { round } = this;
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
