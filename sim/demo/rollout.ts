import type { NodeOpUpgrade, RolloutStatus } from '../../api/types.ts';
import { isFinal } from '../../policy/engine.ts';
import type { Stand } from './stand.ts';
import { LiveView } from './view.ts';

/** One rollout, shown from its `kubectl apply` or edit to its end. */
export interface ShownRollout {
  readonly startedAtMs: number;
  readonly view: LiveView;
  /**
   * Resolves with what it says at its end. `generation` is that of the NodeOpUpgrade which asked for it: of an edited
   * one the status still tells of the rollout before.
   */
  end(generation: number, signal: AbortSignal): Promise<RolloutStatus & { readonly endedAtMs: number }>;
}

const DRAW_MS = 250;
/** The watcher writes the phase of the resource after the rollout wrote its own. */
const WATCHER_FOLLOWS_MS = 30_000;

/** Begins to show how the rollout of a NodeOpUpgrade goes, on the standard output. */
export function showRollout(stand: Stand, { metadata }: NodeOpUpgrade): ShownRollout {
  const { observer, kairosNodes, upgrades } = stand;
  const key = `${metadata.namespace}/${metadata.name}`;
  const startedAtMs = Date.now();
  const view = new LiveView(process.stdout, startedAtMs);
  const draw = () => {
    const status = upgrades.get(key)?.status;
    const shown = [...observer.nodes.values()].map(({ name, controlPlane, ready }) => ({
      name,
      controlPlane,
      ready,
      kairos: kairosNodes.get(name),
    }));
    view.draw(shown, status?.phase ?? 'Pending', status?.message ?? '');
  };
  return {
    startedAtMs,
    view,
    async end(generation, signal) {
      const drawing = setInterval(draw, DRAW_MS);
      const ended = (upgrade: NodeOpUpgrade | undefined): RolloutStatus | undefined => {
        const rollout = upgrade?.status?.rollout;
        return rollout?.generation === generation && isFinal(rollout.phase) ? rollout : undefined;
      };
      const told = (upgrade: NodeOpUpgrade | undefined): true | undefined =>
        upgrade?.status?.observedGeneration === generation && isFinal(upgrade.status.phase) ? true : undefined;
      try {
        const rollout = await upgrades.waitFor(key, ended, signal);
        const endedAtMs = Date.now();
        const inTime = AbortSignal.any([signal, AbortSignal.timeout(WATCHER_FOLLOWS_MS)]);
        await upgrades.waitFor(key, told, inTime).catch(() => signal.throwIfAborted());
        draw();
        return { ...rollout, endedAtMs };
      } finally {
        clearInterval(drawing);
      }
    },
  };
}
