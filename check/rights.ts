import type { Right } from '../process/rights.ts';

export const CHECK_MANIFEST = 'deploy/operator/check-rbac.yaml';

/** All that the check does in the cluster that not every account may. A test holds it and the manifest together. */
export const CHECK_RIGHTS: readonly Right[] = [
  { group: '', resource: 'namespaces', name: 'kube-system', verbs: ['get'], where: 'cluster' },
];
