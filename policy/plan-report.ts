import type { RolloutRequest } from '../api/messages.ts';
import type { Plan, PlanReport, PlanRisk, PlanRow, PlannedWave } from '../api/plan-messages.ts';
import type { PlanStatus, RolloutStatus } from '../api/types.ts';
import { formatDuration } from './duration.ts';
import { estimate, type Measured, type TimedWave } from './estimate.ts';
import { sortRisks } from './plan-risks.ts';
import { planSummary, planTable } from './plan-text.ts';

const ROWS = 200;
const LEFT_ALONE = 20;
const RISKS = 30;
const WAVES = 50;
const LONGEST = 380;
const LONGEST_NOTE = 200;

/** What was found out about the nodes of a plan. */
export interface PlanFindings {
  atMs: number;
  image: string;
  version?: string;
  versionFrom: string;
  refused?: string;
  risks: readonly PlanRisk[];
  /** What each node runs. */
  from: ReadonlyMap<string, string>;
  /** What is to be said beside a node, the most important first. */
  notes: ReadonlyMap<string, readonly string[]>;
  /** Those to which anything is done: what is refused, or on the target, takes no time. */
  touched: ReadonlySet<string>;
  measured: readonly Measured[];
}

/** The waves of a plan; that of a plan from before there were any names two groups. */
export const plannedWaves = ({ waves, controlPlane, workers, maxUnavailable }: Plan): PlannedWave[] =>
  (
    waves ?? [
      { name: 'control-plane', group: 'control-plane', nodes: controlPlane, budget: 1 },
      { name: 'workers', group: 'worker', nodes: workers, budget: maxUnavailable },
    ]
  ).filter(({ nodes }) => nodes.length > 0);

/** The report of a plan: all that a person should see before it is carried out, bounded. */
export function planReport(plan: Plan, found: PlanFindings): PlanReport {
  const planned = plannedWaves(plan);
  const waves = planned.map(({ name, group, nodes, budget, soakMs, approval }) => ({
    name,
    group,
    nodes: nodes.length,
    maxUnavailable: budget,
    ...(soakMs === undefined ? {} : { soakMs }),
    ...(approval === undefined ? {} : { approval }),
  }));
  const rows = planned.flatMap(({ name: wave, nodes }): PlanRow[] =>
    nodes.map(({ name }) => {
      const from = found.from.get(name);
      const note = found.notes.get(name)?.join('; ').slice(0, LONGEST_NOTE);
      return { name, wave, ...(from === undefined ? {} : { from }), ...(note === undefined ? {} : { note }) };
    }),
  );
  const timed = planned.map(({ group, nodes, budget, soakMs }): TimedWave => {
    const touched = nodes.filter(({ name }) => found.touched.has(name)).length;
    // Only nodes that were upgraded soak.
    const soak = soakMs === undefined || touched === 0 ? {} : { soakMs };
    return { group, nodes: touched, maxUnavailable: budget, ...soak };
  });
  const duration = estimate(timed, found.measured);
  return {
    plannedAt: new Date(found.atMs).toISOString(),
    image: found.image,
    ...(found.version === undefined ? {} : { version: found.version }),
    versionFrom: found.versionFrom.slice(0, LONGEST),
    ...(found.refused === undefined ? {} : { refused: found.refused.slice(0, 950) }),
    total: rows.length,
    touched: timed.reduce((sum, { nodes }) => sum + nodes, 0),
    waves: waves.slice(0, WAVES),
    nodes: rows.slice(0, ROWS),
    leftAlone: plan.leftAlone.slice(0, LEFT_ALONE),
    leftAloneCount: plan.leftAlone.length,
    risks: sortRisks(found.risks).slice(0, RISKS),
    riskCount: found.risks.length,
    ...(duration === undefined ? {} : { duration }),
  };
}

/** The waves of a report as the resource shows them. */
export const shownWaves = ({ waves }: PlanReport): NonNullable<RolloutStatus['waves']> =>
  waves.map(({ soakMs, ...wave }) => ({
    ...wave,
    ...(soakMs === undefined ? {} : { soakSeconds: Math.round(soakMs / 1000) }),
  }));

/**
 * The report as the resource shows it: all but the nodes one by one, of which its table has the first. At most 85,000
 * characters, whatever the size of the cluster.
 */
export function planStatusOf(report: PlanReport, { generation, attempt }: RolloutRequest): PlanStatus {
  const { waves: _waves, leftAlone, duration, nodes: _nodes, refused, version, ...rest } = report;
  return {
    ...rest,
    generation,
    attempt,
    summary: planSummary(report),
    ...(version === undefined ? {} : { version }),
    ...(refused === undefined ? {} : { refused }),
    waves: shownWaves(report),
    leftAlone: leftAlone.map(({ name, reason }) => ({ name, reason: reason.slice(0, LONGEST) })),
    ...(duration === undefined
      ? {}
      : {
          duration: {
            typical: formatDuration(duration.typicalMs),
            long: formatDuration(duration.longMs),
            upgrades: duration.upgrades,
          },
        }),
    table: planTable(report),
  };
}
