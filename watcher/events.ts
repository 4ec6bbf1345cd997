import { API_VERSION, KAIROS_GROUP, OPERATOR_GROUP } from '../api/names.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import type { KairosNodeView } from '../kube/kairos-nodes.ts';
import { createEvent, repeatEvent, type EventObject } from '../kube/events.ts';
import { identity, type Notice } from '../policy/events.ts';
import { isFinal } from '../policy/engine.ts';
import { newsForUpgrade, newsOfNode, type TalkingNode } from '../policy/node-events.ts';
import { newsOfUntouched, newsOfUpgrade } from '../policy/upgrade-events.ts';
import type { WatcherContext } from './context.ts';
import { Telling } from './telling.ts';

const COMPONENT = 'kairos-watcher';

/**
 * Writes Events about KairosNodes and NodeOpUpgrades as long as the Lease is held: what changed between two states of an
 * object, and of what is found at the beginning what has just happened. Best effort: nothing waits for an Event, and one
 * that cannot be written is left out.
 */
export function writeEvents(context: WatcherContext, instance: string, held: AbortSignal): void {
  const { client, kairosNodes, upgrades, log } = context;
  const telling = new Telling({
    create: async ({ about, notice }) => {
      const source = { component: COMPONENT, instance };
      const { existed } = await createEvent(client, about, identity(notice), notice, source);
      return existed;
    },
    repeat: ({ about, notice }, count) => repeatEvent(client, about, identity(notice), notice.message, count),
    log,
    signal: held,
  });
  const onNode = (now: KairosNodeView | undefined, before: KairosNodeView | undefined) => {
    if (now === undefined) return;
    const news = newsOfNode(before, now, Date.now());
    if (news.length === 0) return;
    tellAll(telling, nodeObject(now), news);
    for (const upgrade of upgradesOf(context, now, news)) tellAll(telling, upgradeObject(upgrade.of), upgrade.news);
  };
  const onUpgrade = (now: NodeOpUpgrade | undefined, before: NodeOpUpgrade | undefined) => {
    if (now === undefined) return;
    tellAll(telling, upgradeObject(now), newsOfUpgrade(before, now, Date.now()));
    for (const { node, notice } of newsOfUntouched(before, now, (name) => kairosNodes.get(name)))
      telling.tell({ about: nodeObject(node), notice });
  };
  for (const upgrade of upgrades.values()) onUpgrade(upgrade, undefined);
  for (const node of kairosNodes.values()) onNode(node, undefined);
  const stops = [
    kairosNodes.onChange((_, now, before) => onNode(now, before)),
    upgrades.onChange((_, now, before) => onUpgrade(now, before)),
  ];
  held.addEventListener('abort', () => stops.forEach((stop) => stop()), { once: true });
}

function tellAll(telling: Telling, about: EventObject, notices: readonly Notice[]): void {
  for (const notice of notices) telling.tell({ about, notice });
}

/** The NodeOpUpgrades that news of a node concern: the one that has or had it in hand; for a pull, those of its image. */
function upgradesOf(
  { upgrades }: WatcherContext,
  node: TalkingNode,
  news: readonly Notice[],
): { of: NodeOpUpgrade; news: Notice[] }[] {
  const shared = newsForUpgrade(node, news);
  if (shared.length === 0) return [];
  const { inHand, lastAttempt } = node.status;
  const asker = inHand?.request ?? lastAttempt?.request;
  const owner = asker === undefined ? undefined : upgrades.get(`${asker.namespace}/${asker.name}`);
  const pulls = shared.filter(({ reason }) => reason === 'PullFailing');
  const others = shared.filter(({ reason }) => reason !== 'PullFailing');
  const pulling = pulls.length === 0 ? [] : [...upgrades.values()].filter((upgrade) => isPulling(upgrade, pulls));
  return [
    ...(owner === undefined || owner.metadata.uid !== asker?.uid ? [] : [{ of: owner, news: others }]),
    ...pulling.map((of) => ({ of, news: pulls })),
  ];
}

const isPulling = ({ spec, status }: NodeOpUpgrade, pulls: readonly Notice[]) =>
  status?.rollout !== undefined && !isFinal(status.rollout.phase) && pulls.some(({ key }) => key.endsWith(spec.image));

const nodeObject = ({ name, uid }: TalkingNode): EventObject => ({
  apiVersion: `${KAIROS_GROUP}/${API_VERSION}`,
  kind: 'KairosNode',
  name,
  uid,
});

const upgradeObject = ({ metadata: { namespace = '', name, uid = '' } }: NodeOpUpgrade): EventObject => ({
  apiVersion: `${OPERATOR_GROUP}/${API_VERSION}`,
  kind: 'NodeOpUpgrade',
  namespace,
  name,
  uid,
});
