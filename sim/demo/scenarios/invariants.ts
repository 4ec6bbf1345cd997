import type { NodeRecording } from '../../cluster.ts';
import type { Invariant } from '../../invariants.ts';
import type { OutageMoment } from '../../observer.ts';
import type { Theatre } from './theatre.ts';

/** A promise, and what broke it. */
export const promise = (name: string, ...broken: (string | false | undefined)[]): Invariant => ({
  name,
  broken: broken.filter((text) => text !== false && text !== undefined),
});

/** What must hold in every scenario, whatever was asked in it. `heldBack`: nodes that it keeps out on purpose. */
export function always({ stand }: Theatre, heldBack: readonly string[] = []): Invariant[] {
  const { observer, cluster } = stand;
  const left = [...observer.nodes.values()].filter(
    (node) => !heldBack.includes(node.name) && (node.unschedulable || node.owner !== undefined),
  );
  const alone = observer.nodes.size === 1;
  return [
    promise('nothing left cordoned or marked', ...left.map(({ name }) => name)),
    promise('no image written twice in one boot', ...writtenTwice(cluster.recordings())),
    promise('never two control-plane nodes out at once', ...togetherOut(observer.moments)),
    alone
      ? promise('disruption budgets: not asked, one node has nowhere to move its pods')
      : promise(
          'every disruption budget held',
          ...observer.breaches.map(({ budget, healthy, wanted }) => `${budget} had ${healthy} pods of ${wanted}`),
        ),
  ];
}

function writtenTwice(recordings: readonly NodeRecording[]): string[] {
  return recordings.flatMap(({ node, upgradeRuns }) => {
    const boots = upgradeRuns.map(({ bootID }) => bootID);
    return new Set(boots).size === boots.length ? [] : [`${node}: ${boots.length} runs`];
  });
}

const togetherOut = (moments: readonly OutageMoment[]) =>
  moments.filter(({ controlPlane }) => controlPlane.length > 1).map(({ controlPlane }) => controlPlane.join(', '));

/** Most workers that were out at once. */
export const mostOut = (moments: readonly OutageMoment[]): number =>
  Math.max(0, ...moments.map(({ workers }) => workers.length));

/** The nodes in the order in which their image was first written. */
export function writeOrder(recordings: readonly NodeRecording[]): string[] {
  return recordings
    .flatMap(({ node, upgradeRuns: [first] }) => (first === undefined ? [] : [{ node, atMs: first.atMs }]))
    .sort((a, b) => a.atMs - b.atMs)
    .map(({ node }) => node);
}

/** Of these nodes, those that do not run the version in service. */
export function notOn(theatre: Theatre, nodes: readonly string[], version: string): string[] {
  return nodes.flatMap((name) => {
    const { observedVersion = 'unknown', bootState = 'unknown' } = theatre.kairosNode(name).status;
    return observedVersion === version && bootState === 'active' ? [] : [`${name}: ${observedVersion}, ${bootState}`];
  });
}
