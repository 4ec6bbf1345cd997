import { KAIROS_GROUP, OPERATOR_GROUP } from '../api/names.ts';
import type { Right } from '../process/rights.ts';

export const UNINSTALL_MANIFEST = 'deploy/operator/uninstall-rbac.yaml';

/** All that the uninstall program does in the cluster. A test holds it and the manifest together. */
export const UNINSTALL_RIGHTS: readonly Right[] = [
  { group: '', resource: 'namespaces', name: 'kube-system', verbs: ['get'], where: 'cluster' },
  { group: '', resource: 'nodes', verbs: ['get', 'list', 'watch', 'patch'], where: 'cluster' },
  { group: KAIROS_GROUP, resource: 'kairosnodes', verbs: ['list', 'watch'], where: 'cluster' },
  { group: '', resource: 'pods', verbs: ['list', 'watch'], where: 'each' },
  { group: 'batch', resource: 'jobs', verbs: ['list'], where: 'each' },
  { group: OPERATOR_GROUP, resource: 'nodeopupgrades', verbs: ['list', 'watch'], where: 'each' },
  {
    group: 'coordination.k8s.io',
    resource: 'leases',
    verbs: ['get', 'create', 'update', 'patch'],
    where: 'own',
  },
];

/** The Leases on nodes that it gives back with a node. It does without: they run out by themselves. */
export const UNINSTALL_LEASE_RIGHTS: readonly Right[] = [
  { group: 'coordination.k8s.io', resource: 'leases', verbs: ['get', 'delete'], where: 'own' },
];
