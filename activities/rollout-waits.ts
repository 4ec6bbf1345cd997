import { ROLLOUT_FIELD_MANAGER } from '../api/names.ts';
import type { RolloutContext } from '../api/messages.ts';
import type { RolloutPhase } from '../api/types.ts';
import { isReason } from '../kube/errors.ts';
import { patchNodeOpUpgradeStatus, readNodeOpUpgrade } from '../kube/node-op-upgrades.ts';
import { isFinal } from '../policy/engine.ts';
import { rolloutWait, withWait, type RolloutWait } from '../policy/rollout-wait.ts';
import type { ClusterView } from './cluster-view.ts';
import { closedWindow } from './window-gate.ts';

const ATTEMPTS = 5;

interface Shown {
  /** What was written last, as far as this worker knows; null: it does not. */
  wait: string | null;
  writing: Promise<void>;
}

/** By cluster and rollout: all nodes that wait in this worker for the same are told of once. */
const shownBy = new WeakMap<ClusterView, Map<string, Shown>>();

function shownOf(view: ClusterView, { rolloutID, request }: RolloutContext): Shown {
  const byRollout = shownBy.get(view) ?? new Map<string, Shown>();
  shownBy.set(view, byRollout);
  const key = `${rolloutID}/${request.attempt}`;
  const known = byRollout.get(key) ?? { wait: null, writing: Promise.resolve() };
  byRollout.set(key, known);
  return known;
}

const keyOf = (wait: RolloutWait | undefined) => JSON.stringify(wait ?? {});

/**
 * Shows in `status.rollout` what a whole rollout waits for, a window or a health gate, or that it waits for nothing.
 * Written where it changes, to the version that was read, so that nothing is written over an end. Best effort: never
 * rejects, and no step waits for it.
 */
export async function showRolloutWait(
  view: ClusterView,
  context: RolloutContext,
  wait: RolloutWait | undefined,
): Promise<void> {
  const { spec, request } = context;
  if (request.kind !== 'NodeOpUpgrade' || (spec.windows === undefined && spec.healthGates === undefined)) return;
  const shown = shownOf(view, context);
  if (shown.wait === keyOf(wait)) return;
  shown.wait = keyOf(wait);
  shown.writing = shown.writing.then(async () => {
    try {
      await write(view, context, wait);
    } catch {
      // Written when it is shown again.
      shown.wait = null;
    }
  });
  await shown.writing;
}

async function write(view: ClusterView, { request }: RolloutContext, wait: RolloutWait | undefined): Promise<void> {
  const { namespace, name } = request;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const { metadata, status } = await readNodeOpUpgrade(view.client, namespace, name);
    const now = status?.rollout;
    const isOurs = metadata.uid === request.uid && now?.attempt === request.attempt;
    if (!isOurs || isFinal(now.phase)) return;
    const message = withWait(now.message ?? '', wait?.reason);
    if (message === now.message && now.nextWindow === wait?.nextWindow) return;
    const rollout = { message, nextWindow: wait?.nextWindow ?? null };
    const { resourceVersion = '' } = metadata;
    try {
      const body = { metadata: { resourceVersion }, status: { rollout } };
      await patchNodeOpUpgradeStatus(view.client, namespace, name, body, ROLLOUT_FIELD_MANAGER);
      return;
    } catch (error) {
      if (!isReason(error, 'Conflict')) throw error;
    }
  }
}

/** What a rollout writes of itself, with the window that it waits for; what it waits for else is written by who waits. */
export function withClosedWindow<Status extends { phase: RolloutPhase; message?: string | undefined }>(
  view: ClusterView,
  context: RolloutContext,
  status: Status,
): Status & { nextWindow: string | null } {
  const wait = isFinal(status.phase) ? undefined : rolloutWait(closedWindow(view, context));
  shownOf(view, context).wait = keyOf(wait);
  return {
    ...status,
    ...(status.phase === 'Running' && wait !== undefined
      ? { message: withWait(status.message ?? '', wait.reason) }
      : {}),
    nextWindow: wait?.nextWindow ?? null,
  };
}
