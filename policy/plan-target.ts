import type { PlanRisk } from '../api/plan-messages.ts';
import type { KairosNodeStatus, Misfit } from '../api/types.ts';
import { misfit } from './fit.ts';
import { runsTarget } from './on-target.ts';
import { eachNode, risk } from './plan-risks.ts';
import { sameVersion, versionOf } from './release.ts';
import { canaryRefusal, skewRefusal } from './skew.ts';

/** A node of the cluster, as far as it decides what an image means for it. */
export interface JudgedNode {
  name: string;
  controlPlane: boolean;
  architecture: string;
  kubeletVersion: string;
  status: KairosNodeStatus | undefined;
}

/** What is inside the image for machines of one architecture, and how that is known. */
export interface KnownTarget {
  architecture: string;
  version: string;
  fields: Readonly<Record<string, string>>;
  from: string;
}

/**
 * What earlier upgrades tell about an image: nodes that were upgraded to it, and still run it. A tag may have been moved
 * since, which the first pull will tell.
 */
export function knownTargets(image: string, nodes: readonly JudgedNode[]): KnownTarget[] {
  const found = new Map<string, KnownTarget>();
  for (const { name, architecture, status } of nodes) {
    const last = status?.lastAttempt;
    const fields = status?.release;
    if (last?.image !== image || last.verdict !== 'Succeeded' || fields === undefined || found.has(architecture))
      continue;
    const version = versionOf(fields);
    if (version === undefined || !sameVersion(version, last.version)) continue;
    found.set(architecture, { architecture, version, fields, from: `as ${name} got it at ${last.finishedAt}` });
  }
  return [...found.values()];
}

/** The version in a word or two, and where it comes from. */
export function targetText(targets: readonly KnownTarget[]): { version?: string; from: string } {
  const [first] = targets;
  if (first === undefined) return { from: 'read at the first pull' };
  const same = targets.every(({ version }) => version === first.version);
  return {
    version: same
      ? first.version
      : targets.map(({ version, architecture }) => `${version} (${architecture})`).join(', '),
    from: targets
      .map(({ architecture, from }) => (targets.length === 1 ? from : `${architecture}: ${from}`))
      .join('; '),
  };
}

/** What the image means for the nodes of a plan, by name: why a node would be refused, or left alone. */
export interface TargetVerdicts {
  refused: ReadonlyMap<string, string>;
  onTarget: ReadonlySet<string>;
  /** Why no worker may have it: then the rollout is refused as a whole, before a worker is touched. */
  whole?: string;
}

export interface ImageUse {
  force: boolean;
  upgradeActive: boolean;
  allowMisfit?: readonly Misfit[];
  canaryWorkerFirst?: true;
}

/**
 * Asks of each planned node what its gates will ask, as it will be when its turn comes: by then the control-plane nodes
 * of the plan run the target, and those that are no part of it what they run now.
 * @param cluster all nodes of the cluster @param planned names of those in the plan
 * @param apiServer its version, where no control-plane node is visible
 */
export function judgeTarget(
  targets: readonly KnownTarget[],
  cluster: readonly JudgedNode[],
  planned: ReadonlySet<string>,
  { force, upgradeActive, allowMisfit = [], canaryWorkerFirst }: ImageUse,
  apiServer?: string,
): TargetVerdicts {
  const targetOf = (node: JudgedNode) => targets.find(({ architecture }) => architecture === node.architecture);
  const kubernetesOf = (target: KnownTarget | undefined) => target?.fields['KAIROS_SOFTWARE_VERSION'];
  const members = cluster.filter(({ controlPlane }) => controlPlane);
  const now = members.map(({ kubeletVersion }) => kubeletVersion);
  const visible = (versions: string[]) => (members.length > 0 || apiServer === undefined ? versions : [apiServer]);
  const afterwards = members.map((node) =>
    planned.has(node.name) ? (kubernetesOf(targetOf(node)) ?? node.kubeletVersion) : node.kubeletVersion,
  );
  const goesFirst = canaryWorkerFirst === true && members.some(({ name }) => planned.has(name));
  const skewOf = ({ controlPlane, kubeletVersion }: JudgedNode, kubernetes: string | undefined) => {
    if (controlPlane) return skewRefusal('control-plane', visible(now), kubeletVersion, kubernetes);
    const early = goesFirst ? canaryRefusal(now, kubernetes) : undefined;
    return early ?? skewRefusal('worker', visible(afterwards), kubeletVersion, kubernetes);
  };
  const refused = new Map<string, string>();
  const onTarget = new Set<string>();
  let whole: string | undefined;
  for (const node of cluster) {
    const target = targetOf(node);
    if (!planned.has(node.name) || target === undefined) continue;
    if (upgradeActive && !force && runsTarget(node.status, target.version)) {
      onTarget.add(node.name);
      continue;
    }
    const release = node.status?.release;
    const fit = release === undefined ? undefined : misfit(release, { ...target.fields }, allowMisfit);
    const skew = skewOf(node, kubernetesOf(target));
    if (skew !== undefined && !node.controlPlane) whole ??= skew;
    const why = fit ?? skew;
    if (why !== undefined) refused.set(node.name, why);
  }
  return { refused, onTarget, ...(whole === undefined ? {} : { whole }) };
}

/** The same as risks; what refuses the whole is said once, not of each worker. */
export function targetRisks({ refused, whole }: TargetVerdicts): PlanRisk[] {
  const single = [...refused].filter(([, why]) => why !== whole);
  return [
    ...(whole === undefined
      ? []
      : [risk('Refuses', 'RolloutRefused', refused.size, `the rollout ends before a worker is touched: ${whole}`)]),
    ...eachNode('Refuses', 'NodeRefused', single, 'would end as Failed, untouched'),
  ];
}
