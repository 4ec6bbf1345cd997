import {
  nodeWorkflowID,
  waveWorkflowID,
  type ClusterRef,
  type NodeRef,
  type NodeUpgradeInput,
  type Place,
  type RolloutInput,
  type RolloutRequest,
  type Timing,
  type WaveInput,
} from '../../../api/messages.ts';
import type { RolloutSpec } from '../../../api/rollout-spec.ts';
import { resolveSpec, timingFor } from '../../../policy/strategy.ts';
import { targetOf } from '../stubs.ts';

const IMAGE = 'registry.example/kairos:v2';
const CLUSTER: ClusterRef = { uid: 'c0ffee00-0000-4000-8000-000000000001', id: 'test-c0ffee00' };
const TIMING: Timing = timingFor(10, true);
const PLACE: Place = { group: 'worker', budget: 1 };

export interface Wanted {
  /** The name of the request, where a test has more than one. */
  name?: string;
  spec?: Partial<RolloutSpec>;
  kind?: RolloutRequest['kind'];
  timing?: Partial<Timing>;
}

export interface WantedNodes extends Wanted {
  nodes?: NodeRef[];
  place?: Place;
  /** What else a wave is told. */
  wave?: Pick<WaveInput, 'segment' | 'failures'>;
}

export function nodes(count: number, prefix = 'w'): NodeRef[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `${prefix}-${index + 1}`,
    uid: `uid-${prefix}-${index + 1}`,
  }));
}

function context({ name = 'request', kind = 'NodeOpUpgrade', spec, timing }: Wanted) {
  const request = { kind, namespace: 'default', name, uid: `uid-${name}`, generation: 1, attempt: 1 };
  const resolved = { ...resolveSpec({ image: IMAGE }), ...spec };
  const input = { cluster: CLUSTER, request, spec: resolved, timing: { ...TIMING, ...timing } };
  return { request, input, rolloutID: `rollout/${CLUSTER.id}/default/${name}` };
}

export const nodeID = (node: NodeRef): string => nodeWorkflowID(CLUSTER, node);
export const waveID = (wave: string, wanted: Wanted = {}): string => {
  const { rolloutID, request } = context(wanted);
  return waveWorkflowID(rolloutID, request, wave);
};

export function rolloutInput(wanted: Wanted): { id: string; input: RolloutInput } {
  const { rolloutID, input } = context(wanted);
  return { id: rolloutID, input };
}

export function waveInput(wanted: WantedNodes): { id: string; input: WaveInput } {
  const { rolloutID, input } = context(wanted);
  const { nodes: members = nodes(1), place = PLACE } = wanted;
  const id = waveID('workers', wanted);
  return { id, input: { ...input, rolloutID, name: 'workers', nodes: members, place, targets: {}, ...wanted.wave } };
}

export function nodeInput(wanted: WantedNodes): { id: string; input: NodeUpgradeInput } {
  const { rolloutID, input } = context(wanted);
  const [node = { name: 'w-1', uid: 'uid-w-1' }] = wanted.nodes ?? [];
  const { place = PLACE } = wanted;
  return { id: nodeID(node), input: { ...input, rolloutID, node, place, target: targetOf(input.spec.image) } };
}
