import { OPERATOR_FIELD_MANAGER } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { rolloutId } from '../kube/names.ts';
import { patchNodeOpUpgradeStatus } from '../kube/node-op-upgrades.ts';
import { correctionsOf, noteCorrections } from '../policy/corrections.ts';
import { isFinal } from '../policy/engine.ts';
import { type Measured, measuredMs } from '../policy/estimate.ts';
import { inTheWay } from '../policy/in-the-way.ts';
import { lastRequest } from '../policy/requests.ts';
import { summarize } from '../policy/summary.ts';
import type { WatcherContext } from './context.ts';

/** How long the list of the nodes in flight may lag behind: what a node does is written to its KairosNode at once. */
const IN_FLIGHT_EVERY_MS = 5_000;
/** What changes with every step of a node. */
const FOLLOWS_STEPS: ReadonlySet<string> = new Set(['inFlight', 'nodeStatuses', 'eta']);

/**
 * Writes the counts, the nodes in flight and the phase of one NodeOpUpgrade, when they changed. The caller sees to it
 * that this happens at most once a second, in one process. A step of a node alone, which changes no count, is written
 * with what comes within the next seconds.
 */
export async function writeStatus(context: WatcherContext, key: string): Promise<void> {
  const upgrade = context.upgrades.get(key);
  if (upgrade === undefined) return;
  await writeCorrections(context, upgrade);
  const { namespace = '', name, uid = '' } = upgrade.metadata;
  const workflowID = rolloutId(context.cluster.id, namespace, name);
  const nodes = [...context.kairosNodes.values()].filter((node) => node.status.rollout === workflowID);
  const around = {
    atMs: Date.now(),
    inTheWay: () => inTheWay(upgrade.spec.image, nearby(context)),
    isControlPlane: (node: string) => context.nodes.get(node)?.controlPlane === true,
    measuredBefore: () => measuredBefore(context),
  };
  const summary = summarize(upgrade, nodes, context.engine.health(), around);
  const changed = changesOf(upgrade, summary);
  if (changed.length === 0) return;
  const writtenAtMs = Date.parse(upgrade.status?.lastUpdated ?? '');
  if (changed.every((key) => FOLLOWS_STEPS.has(key)) && around.atMs - writtenAtMs < IN_FLIGHT_EVERY_MS) return;
  try {
    const status = { ...replacing(upgrade.status, summary), lastUpdated: new Date().toISOString() };
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

/** A merge patch that leaves nothing of the known object where the new one has something else: what went is `null`. */
export function replacing(known: object | undefined, now: object): Record<string, unknown> {
  const before: Record<string, unknown> = { ...known };
  return Object.fromEntries(
    Object.entries(now).map(([key, value]: [string, unknown]) => {
      if (!isRecord(value)) return [key, value ?? null];
      const was = isRecord(before[key]) ? before[key] : {};
      const gone = Object.keys(was).filter((part) => !(part in value));
      return [key, { ...Object.fromEntries(gone.map((part) => [part, null])), ...replacing(was, value) }];
    }),
  );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** How long the nodes of the cluster were out in their last upgrades, where those went well. */
const measuredBefore = ({ kairosNodes, nodes }: WatcherContext): Measured[] =>
  [...kairosNodes.values()].flatMap(({ name, status }) => {
    const ms = measuredMs(status.lastAttempt);
    return ms === undefined ? [] : [{ ms, controlPlane: nodes.get(name)?.controlPlane === true }];
  });

const nearby = ({ nodes, kairosNodes }: WatcherContext) =>
  [...nodes.values()].map(({ name, ready, unschedulable, owner }) => ({
    name,
    ready,
    unschedulable,
    status: kairosNodes.get(name)?.status,
    ...(owner === undefined ? {} : { owner }),
  }));

function changesOf(upgrade: NodeOpUpgrade, summary: Summary): string[] {
  const known: Record<string, unknown> = { ...upgrade.status };
  return Object.keys(summary).filter((key) => canonical(known[key]) !== canonical(summary[key as keyof Summary]));
}

/** JSON with sorted keys: the API server orders them by its own schema. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
