import { ROLLOUT_FIELD_MANAGER } from '../api/names.ts';
import type { PlanContext } from '../api/messages.ts';
import type { Plan, PlanReport, PlanRisk } from '../api/plan-messages.ts';
import { isReason } from '../kube/errors.ts';
import type { NodeView } from '../kube/nodes.ts';
import { patchNodeOpUpgradeStatus } from '../kube/node-op-upgrades.ts';
import { readServerVersion } from '../kube/server-version.ts';
import { drainOf } from '../policy/drain.ts';
import { type Measured, measuredMs } from '../policy/estimate.ts';
import { planReport, planStatusOf, plannedWaves } from '../policy/plan-report.ts';
import { eachNode, podRisks, refusalsByNode, risk } from '../policy/plan-risks.ts';
import {
  type JudgedNode,
  type KnownTarget,
  judgeTarget,
  knownTargets,
  targetRisks,
  targetText,
} from '../policy/plan-target.ts';
import { quorumWarning } from '../policy/quorum.ts';
import { versionOf } from '../policy/release.ts';
import type { ClusterView } from './cluster-view.ts';
import { closedByQuorum, readDatastore } from './control-plane.ts';
import { canMoveElsewhere } from './drain-refusal.ts';
import {
  closedForAll,
  closedNodes,
  leftAsTheyAre,
  type PlannedNode,
  takenBudgets,
  trustedBootRefusals,
} from './plan-gates.ts';
import { pullForPlan } from './plan-pull.ts';
import { lookAtPods } from './plan-pods.ts';
import { goesWithItsNamespace } from './served-namespace.ts';

/**
 * Looks at all that a plan would touch, and says it: in `status.plan` of the NodeOpUpgrade, and in the answer. Nothing
 * is disrupted. Only a dry run pulls, on one node of each architecture; else the version is told as far as earlier
 * upgrades tell it. Repeating it looks again, and replaces what was said.
 */
export async function reportPlan(
  view: ClusterView,
  context: PlanContext,
  plan: Plan,
  signal: AbortSignal,
): Promise<PlanReport> {
  const { spec, request } = context;
  const waves = plannedWaves(plan);
  const planned = waves.flatMap(({ nodes, group, budget }) =>
    nodes.flatMap((ref): PlannedNode[] => {
      const node = view.nodes.get(ref.name);
      return node === undefined ? [] : [{ ref, node, place: { group, budget } }];
    }),
  );
  const names = new Set(planned.map(({ ref }) => ref.name));
  const cluster = [...view.nodes.values()].map((node) => judged(view, node));
  const pulled =
    spec.dryRun === true
      ? await pullForPlan(
          view,
          context,
          planned.map(({ node }) => node),
        )
      : { targets: [], risks: [] };
  const targets = withKnown(pulled.targets, knownTargets(spec.image, cluster));
  const verdicts = judgeTarget(targets, cluster, names, spec, await apiServerVersion(view));

  const apart = leftAsTheyAre(view, context, planned);
  const refusedWrites = trustedBootRefusals(view, context, planned);

  // Refused nodes are not touched, nor are those on the target, but for their recovery system, which is written without a drain.
  const touched = planned.filter(
    ({ ref }) =>
      !verdicts.refused.has(ref.name) &&
      (spec.upgradeRecovery || !verdicts.onTarget.has(ref.name)) &&
      !refusedWrites.has(ref.name) &&
      !apart.notes.has(ref.name),
  );
  const drained = spec.upgradeActive ? touched.filter(({ ref }) => !verdicts.onTarget.has(ref.name)) : [];
  const moved = drained.filter(({ ref }) => canMoveElsewhere(view, ref));
  const pods = await lookAtPods(view, context, new Set(moved.map(({ ref }) => ref.name)), signal);
  const options = { ...drainOf(spec), timeoutMs: spec.drainTimeoutMs };
  const atMs = Date.now();
  const refusals = refusalsByNode(pods.pods, options, atMs);
  const closed = closedNodes(view, context, touched);
  const shut = new Set(closed.map(([name]) => name));
  const startable = new Set(touched.flatMap(({ ref }) => (shut.has(ref.name) ? [] : [ref.name])));
  const onTarget = spec.upgradeRecovery ? ONLY_RECOVERY : 'runs it already: not touched';
  const notes = grouped([
    ...[...verdicts.refused, ...refusedWrites, ...refusals].map(([name, why]) => [name, `refused: ${why}`] as const),
    ...[...verdicts.onTarget].map((name) => [name, onTarget] as const),
    ...apart.notes,
    ...closed.map(([name, why]) => [name, `waits: ${why}`] as const),
  ]);

  const { version, from: versionFrom } = targetText(targets);
  const report = planReport(plan, {
    atMs,
    image: spec.image,
    ...(version === undefined ? {} : { version }),
    versionFrom,
    ...(verdicts.whole === undefined ? {} : { refused: verdicts.whole }),
    risks: [
      ...pulled.risks,
      ...targetRisks(verdicts),
      ...eachNode('Refuses', 'NodeRefused', [...refusedWrites], 'would end as Failed, untouched'),
      ...podRisks(pods, pods.tried, options, atMs),
      ...(await closedForAll(view, context, touched.length)),
      ...eachNode('Waits', 'GateClosed', closed, 'would wait, as it is now'),
      ...takenBudgets(view, context, waves, startable),
      ...eachNode('Notes', 'Superseded', apart.superseded, 'would not be touched'),
      ...controlPlane(view, new Set(drained.map(({ ref }) => ref.name))),
      ...nowhereToGo(drained.length - moved.length),
      ...pods.notTried.map((text) => risk('Notes', 'NotTried', 1, text)),
    ],
    from: new Map(
      cluster.flatMap(({ name, status }) => (status?.release === undefined ? [] : versionsOf(name, status.release))),
    ),
    notes,
    touched: new Set(touched.flatMap(({ ref }) => (refusals.has(ref.name) ? [] : [ref.name]))),
    measured: spec.upgradeActive ? measured(view) : [],
  });
  if (request.kind === 'NodeOpUpgrade') await writePlan(view, context, report);
  return report;
}

const ONLY_RECOVERY = 'runs it already: only its recovery system is written, unless that holds the image';

/** What is to be said beside each node, by its name. */
const grouped = (said: readonly (readonly [name: string, text: string])[]): Map<string, string[]> =>
  new Map([...Map.groupBy(said, ([name]) => name)].map(([name, of]) => [name, of.map(([, text]) => text)]));

const judged = (view: ClusterView, { name, controlPlane, architecture, kubeletVersion }: NodeView): JudgedNode => ({
  name,
  controlPlane,
  architecture,
  kubeletVersion,
  status: view.kairosNodes.get(name)?.status,
});

function versionsOf(name: string, release: Record<string, string>): [string, string][] {
  const version = versionOf(release);
  return version === undefined ? [] : [[name, version]];
}

/** What was pulled just now says more than what was pulled once. */
const withKnown = (pulled: readonly KnownTarget[], known: readonly KnownTarget[]): KnownTarget[] => [
  ...pulled,
  ...known.filter(({ architecture }) => pulled.every((target) => target.architecture !== architecture)),
];

/** Where no control-plane node is visible, by the API server itself. */
async function apiServerVersion(view: ClusterView): Promise<string | undefined> {
  const visible = [...view.nodes.values()].some(({ controlPlane }) => controlPlane);
  return visible ? undefined : readServerVersion(view.client);
}

/** How long each node of the cluster was out in its last upgrade, where that went well. */
const measured = (view: ClusterView): Measured[] =>
  [...view.kairosNodes.values()].flatMap(({ name, status }) => {
    const ms = measuredMs(status.lastAttempt);
    return ms === undefined ? [] : [{ ms, controlPlane: view.nodes.get(name)?.controlPlane === true }];
  });

/** What the control plane is without while a node of it reboots, and whether its quorum would let one go now. */
function controlPlane(view: ClusterView, planned: ReadonlySet<string>): PlanRisk[] {
  const members = [...view.nodes.values()].filter((node) => node.controlPlane);
  const touched = members.filter(({ name }) => planned.has(name));
  const lost = touched.flatMap(({ name }) => closedByQuorum(view, name, [])?.reason ?? []);
  const warning =
    touched.length === 1 && members.length === 1
      ? `${touched[0]?.name} is the only control-plane node: there is no API server while it reboots`
      : quorumWarning(readDatastore(view));
  return [
    ...(lost[0] === undefined ? [] : [risk('Waits', 'ControlPlane', lost.length, `as it is now, ${lost[0]}`)]),
    ...(touched.length === 0 || warning === undefined
      ? []
      : [risk('Interrupts', 'ControlPlane', touched.length, warning)]),
  ];
}

const nowhereToGo = (nodes: number): PlanRisk[] =>
  nodes === 0
    ? []
    : [
        risk(
          'Interrupts',
          'NowhereToGo',
          nodes,
          'no other node is Ready and schedulable: nothing is evicted, the pods go down with their node and come back with it',
        ),
      ];

/** A merge patch keeps what it does not name, of a plan that was made before in this attempt. */
const NOTHING = { version: null, refused: null, waves: null, leftAlone: null, risks: null, duration: null };

async function writePlan(view: ClusterView, { request, asked }: PlanContext, report: PlanReport): Promise<void> {
  const { namespace, name, uid } = request;
  const plan = { ...NOTHING, ...planStatusOf(report, request), asked: asked ?? null };
  try {
    await patchNodeOpUpgradeStatus(
      view.client,
      namespace,
      name,
      { metadata: { uid }, status: { plan } },
      ROLLOUT_FIELD_MANAGER,
    );
  } catch (error) {
    if (!isReason(error, 'NotFound', 'Conflict') && !goesWithItsNamespace(view, namespace, error)) throw error;
  }
}
