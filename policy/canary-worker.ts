import type { PlannedWave } from '../api/plan-messages.ts';

/**
 * The waves of a plan with one worker before the control plane, in a wave of its own: the first that would have its turn,
 * with the soak of the wave that it is taken from, and waiting for an approval where that wave does: who must be asked
 * before a wave is asked before any node of it. Nothing else starts when it fails. Without a control plane or without
 * workers nothing changes.
 */
export function withCanaryWorkerFirst(waves: readonly PlannedWave[]): PlannedWave[] {
  const first = waves.find(({ group, nodes }) => group === 'worker' && nodes.length > 0);
  const [canary] = first?.nodes ?? [];
  if (first === undefined || canary === undefined || waves.every(({ group }) => group === 'worker')) return [...waves];
  const { soakMs, approval } = first;
  const before: PlannedWave = {
    name: freeName(waves),
    group: 'worker',
    nodes: [canary],
    budget: 1,
    maxFailed: 0,
    ...(soakMs !== undefined && { soakMs }),
    ...(approval !== undefined && { approval }),
  };
  const rest = waves.map((wave) => (wave === first ? { ...wave, nodes: wave.nodes.slice(1) } : wave));
  return [before, ...rest.filter(({ nodes }) => nodes.length > 0)];
}

/** Waves of a plan have names of their own; a person may have given one this name. */
function freeName(waves: readonly PlannedWave[]): string {
  const taken = new Set(waves.map(({ name }) => name));
  let name = 'worker-canary';
  for (let n = 2; taken.has(name); n += 1) name = `worker-canary-${n}`;
  return name;
}
