import { OPERATOR_FIELD_MANAGER } from '../api/names.ts';
import type { KairosNodeSpec, KairosNodeStatus } from '../api/types.ts';
import { sameVersion, versionOf } from './release.ts';

export interface DeclaredNode {
  generation: number;
  spec: KairosNodeSpec;
  /** Field managers that hold spec.image or spec.version. */
  specManagers: readonly string[];
  status: KairosNodeStatus;
  /** The annotation that asks for another attempt. */
  retry?: string;
}

/**
 * The image that a person asked for on this node and that was not yet tried, or undefined. What the operator stamped
 * itself is a rollout's and no drift. A drift that equals a finished attempt is settled, however it ended: a node that
 * fell back is not upgraded for ever; a new generation of the spec, or a new value of the annotation, asks anew.
 */
export function handMadeDrift(node: DeclaredNode): string | undefined {
  const { image, version } = node.spec;
  if (image === undefined || node.specManagers.every((manager) => manager === OPERATOR_FIELD_MANAGER)) return undefined;
  const last = node.status.lastAttempt;
  // An annotation that was taken away asks for nothing.
  const answered = node.retry === undefined || last?.retry === node.retry;
  const settled = last?.specGeneration === node.generation && last.image === image && answered;
  if (settled) return undefined;
  const runs = node.status.release === undefined ? undefined : versionOf(node.status.release);
  if (version !== undefined && runs !== undefined && sameVersion(version, runs)) return undefined;
  return image;
}

/** What a person asked of a node, as one text: changes with each edit of the spec and each new value of the annotation. */
export const driftKey = ({ generation, retry = '' }: Pick<DeclaredNode, 'generation' | 'retry'>): string =>
  `${generation}/${retry}`;
