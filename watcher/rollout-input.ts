import { PAUSE_ANNOTATION } from '../api/names.ts';
import type { RolloutInput } from '../api/messages.ts';
import type { NodeOpUpgrade } from '../api/types.ts';
import type { Writers } from '../kube/writers.ts';
import { askedBefore, leftOutIn, NOTHING_ASKED } from '../policy/asked.ts';
import { pauseReason, type EngineDecision } from '../policy/engine.ts';
import { namesOf } from '../policy/requests.ts';
import { timingFor } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';
import { specOf } from './spec.ts';

/** With what an attempt of a NodeOpUpgrade is started. `named`: the nodes for whose retry it begins. */
export function rolloutInput(
  context: WatcherContext,
  resource: NodeOpUpgrade,
  writers: Writers,
  decision: Extract<EngineDecision, { action: 'start' }> & { named?: string | undefined },
): RolloutInput {
  const { attempt, retry, nodeNames } = decision;
  const { cluster, engine, nodes } = context;
  const { namespace = '', name, uid = '', generation = 1, annotations = {} } = resource.metadata;
  const paused = pauseReason(annotations);
  return {
    cluster,
    request: {
      kind: 'NodeOpUpgrade',
      namespace,
      name,
      uid,
      generation,
      attempt,
      ...(retry === undefined ? {} : { retry }),
    },
    spec: { ...specOf(context, resource.spec), ...(nodeNames === undefined ? {} : { nodeNames }) },
    timing: timingFor(nodes.size, engine.searchAttributes),
    ...(paused === undefined ? {} : { paused, ...pausedBy(writers) }),
    ...asked(resource, decision),
  };
}

/**
 * What was asked of this attempt before its workflow was lost with Temporal's database. Of an attempt in which nodes are
 * tried again: the nodes that were left out of the one before stay so, but for those that are tried again.
 */
function asked(
  { metadata, status }: NodeOpUpgrade,
  { attempt, again, named = '' }: { attempt: number; again?: true; named?: string | undefined },
): Pick<RolloutInput, 'control'> {
  const known = status?.rollout;
  if (again === true) {
    const retried = namesOf(named);
    const skips = Object.entries(leftOutIn(known ?? {})).filter(([name]) => !retried.includes(name));
    return skips.length === 0 ? {} : { control: { ...NOTHING_ASKED, skips: Object.fromEntries(skips) } };
  }
  if (known?.attempt !== attempt || known.generation !== metadata.generation) return {};
  const { paused: before, ...control } = askedBefore(known);
  // An annotation says now whether it is paused.
  const isPaused = pauseReason(metadata.annotations ?? {}) !== undefined;
  return { control: isPaused || before === undefined ? control : { ...control, paused: before } };
}

function pausedBy({ annotations }: Writers): Pick<RolloutInput, 'pausedBy'> {
  const who = annotations[PAUSE_ANNOTATION];
  return who === undefined ? {} : { pausedBy: who };
}
