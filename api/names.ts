/** Names that several rooms and the user's commands must agree on. */

/** The annotation on a Node saying which workflow took it out of service: a workflow id, or `held:<verdict>`. */
export const OWNER_ANNOTATION = 'kairos.io/upgrade-owner';
/** Prefix of an owner annotation that keeps a node out on purpose, until a person or a retry decides. */
export const HELD_PREFIX = 'held:';
/** The annotation on a NodeOpUpgrade that starts no further node while it is there; its value is the reason. */
export const PAUSE_ANNOTATION = 'kairos.io/pause';
/** The annotation on a NodeOpUpgrade or KairosNode that asks for another attempt, once for each new value. */
export const RETRY_ANNOTATION = 'kairos.io/retry';
/** The annotation on a NodeOpUpgrade that approves a wave which waits for that; its value is the name of the wave. */
export const APPROVE_ANNOTATION = 'kairos.io/approve';
/** The annotation on a NodeOpUpgrade that leaves nodes out of its rollout; its value is their names. */
export const SKIP_ANNOTATION = 'kairos.io/skip';
/** The annotation on a NodeOpUpgrade that tries failed nodes again in the rollout that runs; its value is their names. */
export const RETRY_NODE_ANNOTATION = 'kairos.io/retry-node';
/** The annotation on a NodeOpUpgrade that ends its rollout; its value is the reason. */
export const ABORT_ANNOTATION = 'kairos.io/abort';
/** The annotation on a NodeOpUpgrade that asks for a plan, once for each new value. */
export const PLAN_ANNOTATION = 'kairos.io/plan';
/** The Lease in the operator's namespace that the uninstall program holds: while it does, no rollout is started. */
export const UNINSTALL_LEASE = 'kairos-uninstall';
/** Who we are in the Leases on Nodes that tools for the maintenance of nodes share. */
export const NODE_LEASE_HOLDER = 'kairos-operator';
/** The label set on Nodes that run Kairos. */
export const MANAGED_LABEL = 'kairos.io/managed';
/** The label on a Node that says whether it has trusted boot (UKI), where its agent does not: `true` or `false`. */
export const TRUSTED_BOOT_LABEL = 'kairos.io/trusted-boot';
/** The label on every pod and Job of ours that works on a node; its value is the step: pre-pull, upgrade, recovery, reboot, evidence. */
export const STEP_LABEL = 'kairos.io/upgrade-step';
/** The label of the operator's pods, and of others that a drain leaves where they are, as it does those. */
export const PART_OF_LABELS = ['app.kubernetes.io/part-of', 'kairos.io/part-of'] as const;
/** The label, with the value `true`, of pods whose node is upgraded last, such as those of Temporal's database. */
export const HOST_LAST_LABEL = 'kairos.io/host-last';
/** The label that names the node of such a pod or Job (cut and hashed above 63 characters). */
export const NODE_LABEL = 'kairos.io/node';
/** The annotation with the full name of the node. */
export const NODE_NAME_ANNOTATION = 'kairos.io/node-name';
/** The annotation with the UID of the node: another node may have its name by now. */
export const NODE_UID_ANNOTATION = 'kairos.io/node-uid';
/** The annotation with the workflow id that made the pod or Job. */
export const WORKFLOW_ANNOTATION = 'kairos.io/workflow';
/** The annotation with the boot id for which the pod or Job was made. */
export const BOOT_ID_ANNOTATION = 'kairos.io/boot-id';

export const AGENT_FIELD_MANAGER = 'kairos-agent';
export const OPERATOR_FIELD_MANAGER = 'kairos-operator';
export const ROLLOUT_FIELD_MANAGER = 'kairos-rollout';

export const KAIROS_GROUP = 'kairos.io';
export const OPERATOR_GROUP = 'operator.kairos.io';
export const API_VERSION = 'v1alpha1';

/** A node that only runs etcd for k3s or RKE2 is upgraded with the control plane: one at a time, and first. */
export const CONTROL_PLANE_LABELS = [
  'node-role.kubernetes.io/control-plane',
  'node-role.kubernetes.io/master',
  'node-role.kubernetes.io/etcd',
] as const;

/** Search attributes (keywords) that the watcher adds to Temporal at its start. */
export const SEARCH_ATTRIBUTE_NAMES = {
  cluster: 'KairosCluster',
  rollout: 'KairosRollout',
  node: 'KairosNode',
  phase: 'KairosPhase',
  target: 'KairosTarget',
} as const;
