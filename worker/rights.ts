import { KAIROS_GROUP, OPERATOR_GROUP } from '../api/names.ts';
import type { Settings } from '../api/schemas/settings.ts';
import { readinessRefused } from '../kube/server-readiness.ts';
import { leaseNeeds, type Needs } from '../process/needs.ts';
import type { Right } from '../process/rights.ts';

export const WORKER_MANIFEST = 'deploy/operator/worker-rbac.yaml';

/** All that the worker's steps do in the cluster. A test holds it and the manifest together. */
export const WORKER_RIGHTS: readonly Right[] = [
  { group: '', resource: 'namespaces', name: 'kube-system', verbs: ['get'], where: 'cluster' },
  { group: '', resource: 'nodes', verbs: ['get', 'list', 'watch', 'patch'], where: 'cluster' },
  { group: '', resource: 'pods', verbs: ['get', 'list', 'watch'], where: 'cluster' },
  { group: '', resource: 'pods/eviction', verbs: ['create'], where: 'cluster' },
  { group: 'policy', resource: 'poddisruptionbudgets', verbs: ['get'], where: 'cluster' },
  { group: '', resource: 'persistentvolumeclaims', verbs: ['get'], where: 'cluster' },
  { group: '', resource: 'persistentvolumes', verbs: ['list'], where: 'cluster' },
  { group: 'storage.k8s.io', resource: 'volumeattachments', verbs: ['list', 'watch'], where: 'cluster' },
  { group: KAIROS_GROUP, resource: 'kairosnodes', verbs: ['get', 'list', 'watch', 'patch'], where: 'cluster' },
  { group: KAIROS_GROUP, resource: 'kairosnodes/status', verbs: ['patch'], where: 'cluster' },
  { group: '', resource: 'pods', verbs: ['create', 'delete'], where: 'each' },
  { group: 'batch', resource: 'jobs', verbs: ['get', 'list', 'create', 'delete'], where: 'each' },
  { group: OPERATOR_GROUP, resource: 'nodeopupgrades', verbs: ['get', 'list', 'watch'], where: 'each' },
  { group: OPERATOR_GROUP, resource: 'nodeopupgrades/status', verbs: ['patch'], where: 'each' },
];

/** The Leases on nodes, in the namespace that the tools for their maintenance share. */
export const NODE_LEASE_RIGHTS: readonly Right[] = [
  {
    group: 'coordination.k8s.io',
    resource: 'leases',
    verbs: ['get', 'list', 'watch', 'create', 'patch', 'delete'],
    where: 'own',
  },
];

/**
 * What it asks of the API server that is no resource. Every cluster lets every account ask for it, unless somebody took
 * that away; the manifest gives it all the same, and the worker goes on without it.
 */
export const WORKER_PATHS: readonly string[] = ['/readyz'];

/** What the worker must be allowed to do with these settings. */
export const workerNeeds = ({ nodeLeaseNamespace }: Settings): Needs => ({
  rights: WORKER_RIGHTS,
  manifest: WORKER_MANIFEST,
  wants: readinessRefused,
  ...leaseNeeds(nodeLeaseNamespace, NODE_LEASE_RIGHTS),
});
