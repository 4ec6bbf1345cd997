import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeWorkflowID } from '../../api/messages.ts';
import { NODE_NAME_ANNOTATION, STEP_LABEL } from '../../api/names.ts';
import { isFinal } from '../../policy/engine.ts';
import type { NodeRecording } from '../../sim/cluster.ts';
import { OLD, type Stage } from '../e2e/stage.ts';
import type { Cell } from './events.ts';

const FIRST_VERSION = OLD.split(':')[1];

/** How a node ended, in one line: verdict, service, and what its two slots hold, active first. */
export type Outcome = `${string}, ${string}, ${string}|${string}`;

/** What of an upgrade is still going on, in words; undefined when all of it is over. */
export async function stillGoing(stage: Stage, cell: Cell): Promise<string | undefined> {
  const { node, uid } = cell;
  const upgrade = stage.status(node);
  const open = async (id: string) => {
    const described = await stage.temporal.workflow
      .getHandle(id)
      .describe()
      .catch(() => undefined);
    return described?.status.name === 'RUNNING';
  };
  if (upgrade !== undefined && !(isFinal(upgrade.phase) && isFinal(upgrade.rollout?.phase)))
    return `${upgrade.phase}: ${upgrade.message ?? ''}; ${stage.kairosNodes.get(node)?.status.message ?? ''}`;
  if (await open(stage.rolloutID(node))) return 'its rollout is open';
  if (await open(nodeWorkflowID(stage.ref, { name: node, uid }))) return 'its workflow is open';
  const seen = stage.observer.nodes.get(node);
  if (seen?.owner?.startsWith('node/') === true) return `it carries the mark ${seen.owner}`;
  if (stage.kairosNodes.get(node)?.status.inHand !== undefined) return 'its KairosNode says that it is in hand';
  const left = await objectsOf(stage, node);
  return left.length === 0 ? undefined : `left on it: ${left.join(', ')}`;
}

async function objectsOf(stage: Stage, node: string): Promise<string[]> {
  const query = { labelSelector: STEP_LABEL };
  type List = { items: { metadata: { name: string; annotations?: Record<string, string> } }[] };
  const lists = await Promise.all(
    ['/api/v1/pods', '/apis/batch/v1/jobs'].map((path) => stage.client.request<List>({ verb: 'list', path, query })),
  );
  return lists.flatMap(({ items }) =>
    items
      .filter(({ metadata }) => metadata.annotations?.[NODE_NAME_ANNOTATION] === node)
      .map(({ metadata }) => metadata.name),
  );
}

/** What the node looks like in the end. */
export function outcomeOf(stage: Stage, cell: Cell): Outcome {
  const { node, uid } = cell;
  const { rollout } = stage.status(node) ?? {};
  const attempt = stage.kairosNodes.get(node)?.status.lastAttempt?.verdict;
  const verdict = Object.keys(rollout?.verdicts ?? {}).join('+') || attempt || 'untouched';
  const now = stage.observer.nodes.get(node);
  if (now === undefined) return `${verdict}, gone, -|-`;
  const owner = now.owner ?? (now.unschedulable ? 'cordoned by a person' : 'in service');
  const service = now.owner !== undefined && !now.unschedulable ? `${owner} but not cordoned` : owner;
  const slot = (name: string) => (versionOf(stage, node, name) === FIRST_VERSION ? 'old' : 'new');
  const who = now.uid === uid ? service : `another one ${service}`;
  return `${verdict}, ${who}, ${slot('active')}|${slot('passive')}`;
}

function versionOf(stage: Stage, node: string, slot: string): string {
  const file = join(stage.cluster.machine(node).folder, 'slots', slot, 'etc', 'kairos-release');
  return /^KAIROS_VERSION="(.*)"$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 'nothing';
}

/** Boots in which the image was written more than once: that loses the fallback. */
export function writtenTwice({ upgradeRuns }: NodeRecording): string[] {
  const boots = upgradeRuns.map(({ bootID }) => bootID);
  return boots.filter((bootID, index) => boots.indexOf(bootID) !== index);
}
