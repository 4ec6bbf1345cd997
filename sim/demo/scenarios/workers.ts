import type { LabelSelector } from '../../../api/types.ts';

/** Selects the nodes that are not of the control plane. */
export const WORKERS: LabelSelector = {
  matchExpressions: [{ key: 'node-role.kubernetes.io/control-plane', operator: 'DoesNotExist' }],
};

/** Selects nodes by name. */
export const these = (...names: string[]): LabelSelector => ({
  matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: names }],
});

export const workers = (count: number): string[] => Array.from({ length: count }, (_, index) => `worker-${index + 1}`);

/** All of these names but one. */
export const named = (names: readonly string[], but: string | undefined): string[] =>
  names.filter((name) => name !== but);
