import { KAIROS_GROUP, OPERATOR_GROUP } from '../api/names.ts';
import type { Right } from '../process/rights.ts';

export const WATCHER_MANIFEST = 'deploy/operator/watcher-rbac.yaml';

/** All that the watcher does in the cluster. A test holds it and the manifest together. */
export const WATCHER_RIGHTS: readonly Right[] = [
  { group: '', resource: 'namespaces', name: 'kube-system', verbs: ['get'], where: 'cluster' },
  { group: '', resource: 'nodes', verbs: ['get', 'list', 'watch', 'patch'], where: 'cluster' },
  { group: KAIROS_GROUP, resource: 'kairosnodes', verbs: ['list', 'watch', 'patch'], where: 'cluster' },
  { group: KAIROS_GROUP, resource: 'kairosnodes/status', verbs: ['patch'], where: 'cluster' },
  { group: '', resource: 'events', verbs: ['create', 'patch'], where: 'cluster' },
  { group: OPERATOR_GROUP, resource: 'nodeopupgrades', verbs: ['get', 'list', 'watch'], where: 'each' },
  { group: OPERATOR_GROUP, resource: 'nodeopupgrades/status', verbs: ['patch'], where: 'each' },
  {
    group: 'coordination.k8s.io',
    resource: 'leases',
    verbs: ['get', 'create', 'update', 'patch'],
    where: 'own',
  },
];
