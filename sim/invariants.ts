import type { KairosNodeView } from '../kube/kairos-nodes.ts';
import type { NodeView } from '../kube/nodes.ts';
import type { NodeRecording } from './cluster.ts';
import type { BudgetBreach, OutageMoment } from './observer.ts';

/** What an upgrade left behind and did on its way, from the API server and the machines themselves. */
export interface Evidence {
  readonly target: string;
  readonly maxUnavailable: number;
  readonly moments: readonly OutageMoment[];
  readonly breaches: readonly BudgetBreach[];
  readonly nodes: readonly NodeView[];
  readonly kairosNodes: readonly KairosNodeView[];
  readonly recordings: readonly NodeRecording[];
  /** How often the image of a node must have been written; once where nothing is said. */
  readonly writes?: Readonly<Record<string, number>>;
}

/** What a rollout left behind whose image does not boot. */
export interface FallbackEvidence extends Evidence {
  /** The node that fell back. */
  readonly fallen: string;
  /** The version that it ran before. */
  readonly from: string;
}

export interface Invariant {
  readonly name: string;
  /** What broke it; empty when it held. */
  readonly broken: readonly string[];
}

/** The promises of an upgrade, checked. */
export function checkInvariants(evidence: Evidence): Invariant[] {
  return [
    { name: 'control plane before workers, and never two at once', broken: controlPlaneOrder(evidence) },
    { name: `never more than ${evidence.maxUnavailable} workers out`, broken: workerBudget(evidence) },
    budgets(evidence),
    { name: 'every node verified on the target by its agent, from a new boot', broken: verified(evidence) },
    nothingLeft(evidence),
    written(evidence),
  ];
}

/** The promises of an upgrade whose image did not boot: one node pays for it, for the time of its reboots. */
export function checkFallback(evidence: FallbackEvidence): Invariant[] {
  const { fallen, from, nodes } = evidence;
  const writes = Object.fromEntries(nodes.map(({ name }) => [name, name === fallen ? 1 : 0]));
  return [
    { name: `${fallen} fell back, and serves ${from} from its passive image`, broken: fellBack(evidence) },
    { name: 'no other node was touched', broken: touched(evidence) },
    budgets(evidence),
    nothingLeft(evidence),
    { ...written({ ...evidence, writes }), name: `the image was written exactly once, on ${fallen}` },
  ];
}

function nothingLeft({ nodes }: Evidence): Invariant {
  const left = nodes.filter((node) => node.unschedulable || node.owner !== undefined);
  return { name: 'nothing left cordoned or marked', broken: left.map((node) => node.name) };
}

function written({ recordings, writes = {} }: Evidence): Invariant {
  const others = Object.entries(writes).map(([node, times]) => `, ${node} ${times} times`);
  const wrong = recordings.filter(({ node, upgradeRuns }) => upgradeRuns.length !== (writes[node] ?? 1));
  return {
    name: `each node's upgrade ran exactly once${others.join('')}`,
    broken: wrong.map(({ node, upgradeRuns }) => `${node}: ${upgradeRuns.length} runs`),
  };
}

function fellBack({ fallen, from, nodes, kairosNodes, recordings }: FallbackEvidence): string[] {
  const node = nodes.find(({ name }) => name === fallen);
  const status = kairosNodes.find(({ name }) => name === fallen)?.status ?? {};
  const boot = recordings.find((recording) => recording.node === fallen)?.boots.at(-1);
  if (node === undefined || boot === undefined) return ['no node fell back'];
  return [
    node.ready ? [] : ['not Ready'],
    boot.slot === 'passive' && status.bootState === 'passive' ? [] : [`runs from ${boot.slot}`],
    boot.bootID === node.bootID && status.bootID === node.bootID ? [] : ['its report is not from its present boot'],
    status.observedVersion === from ? [] : [`runs ${status.observedVersion ?? 'unknown'}`],
    status.lastAttempt?.verdict === 'RolledBack' ? [] : [`verdict ${status.lastAttempt?.verdict ?? 'none'}`],
  ].flat();
}

function touched({ fallen, moments, kairosNodes, recordings }: FallbackEvidence): string[] {
  const out = moments.flatMap(({ controlPlane, workers }) => [...controlPlane, ...workers]);
  const tried = kairosNodes.filter(({ status }) => status.lastAttempt !== undefined).map(({ name }) => name);
  const down = recordings
    .filter(({ boots, outages }) => boots.length > 1 || outages.length > 0)
    .map(({ node }) => node);
  return [...new Set([...out, ...tried, ...down])].filter((name) => name !== fallen);
}

/** With one node its pods go down with it, and no budget can hold: that is not asked, and said. */
function budgets({ nodes, breaches }: Evidence): Invariant {
  if (nodes.length === 1)
    return { name: 'disruption budgets: not asked, one node has nowhere to move its pods', broken: [] };
  return {
    name: 'every disruption budget held',
    broken: breaches.map(({ budget, healthy, wanted }) => `${budget} had ${healthy} healthy pods of ${wanted}`),
  };
}

function controlPlaneOrder({ moments, nodes, recordings }: Evidence): string[] {
  const broken = moments
    .filter(({ controlPlane }) => controlPlane.length > 1)
    .map(({ controlPlane }) => `out together: ${controlPlane.join(', ')}`);
  const firstWorker = moments.find(({ workers }) => workers.length > 0)?.atMs;
  const lastControlPlane = moments.findLast(({ controlPlane }) => controlPlane.length > 0)?.atMs;
  if (firstWorker !== undefined && lastControlPlane !== undefined && firstWorker < lastControlPlane) {
    broken.push('a worker was out while a control-plane node was still to come');
  }
  const members = new Set(nodes.filter((node) => node.controlPlane).map((node) => node.name));
  const outages = recordings
    .filter(({ node }) => members.has(node))
    .flatMap(({ node, outages }) => outages.map((outage) => ({ node, ...outage })));
  for (const [index, one] of outages.entries()) {
    for (const other of outages.slice(index + 1)) {
      const overlap =
        one.node !== other.node && one.fromMs < (other.toMs ?? Infinity) && other.fromMs < (one.toMs ?? Infinity);
      if (overlap) broken.push(`machines without power together: ${one.node}, ${other.node}`);
    }
  }
  return broken;
}

function workerBudget({ moments, maxUnavailable }: Evidence): string[] {
  return moments
    .filter(({ workers }) => workers.length > maxUnavailable)
    .map(({ workers }) => `out together: ${workers.join(', ')}`);
}

function verified({ nodes, kairosNodes, recordings, target }: Evidence): string[] {
  const reports = new Map(kairosNodes.map((node) => [node.name, node.status]));
  return nodes.flatMap((node) => {
    const { observedVersion = 'unknown', bootState = 'unknown', bootID, lastAttempt } = reports.get(node.name) ?? {};
    const boots = recordings.find((recording) => recording.node === node.name)?.boots ?? [];
    const present = boots.at(-1)?.bootID === node.bootID && bootID === node.bootID;
    const wrong = [
      observedVersion === target ? [] : [`runs ${observedVersion}`],
      bootState === 'active' ? [] : [`booted ${bootState}`],
      boots.length > 1 ? [] : ['never rebooted'],
      present ? [] : ['its report is not from its present boot'],
      lastAttempt?.verdict === 'Succeeded' ? [] : [`verdict ${lastAttempt?.verdict ?? 'none'}`],
    ].flat();
    return wrong.length === 0 ? [] : [`${node.name}: ${wrong.join(', ')}`];
  });
}
