import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { cel, duration, time } from './meta.ts';

/** What becomes of a node whose drain did not end in time. */
export const DRAIN_RUNGS = ['Fail', 'Skip', 'Delete', 'DeleteUnhealthy'] as const;

/** Why a pod has not left its node. */
export const BLOCKER_REASONS = [
  'Budget',
  'SeveralBudgets',
  'NamespaceTerminating',
  'Completing',
  'Terminating',
  'VolumeAttached',
] as const;

/** What a drain did that its node's record must tell. */
const DRAIN_OUTCOMES = ['NothingEvicted', 'PodsDeleted', 'VolumesAttached'] as const;

const NAME = '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$';

const budgetReference = z
  .object({
    namespace: z.string().regex(new RegExp(NAME)).max(63).describe('Namespace of the budget, and of its pods.'),
    name: z.string().regex(new RegExp(NAME)).max(253).describe('Name of the budget.'),
  })
  .describe('A PodDisruptionBudget.');

const waitForCompletion = z
  .object({
    podSelector: labelSelector
      .describe('Which pods end by themselves, by their labels. Default: the pods of Jobs.')
      .optional(),
    timeout: duration().describe(
      'How long they may take, from the beginning of the drain; then they are evicted as all others.',
    ),
  })
  .describe('Pods that end by themselves, and are waited for before they are evicted. Default: none.');

const DELETES = "has(self.onTimeout) && self.onTimeout in ['Delete', 'DeleteUnhealthy']";

export const drainStrategy = z
  .object({
    timeout: duration()
      .describe('How long the drain of one node may take before onTimeout decides. Default 15m.')
      .optional(),
    deleteEmptyDirData: z
      .boolean()
      .describe(
        'Whether pods with emptyDir volumes may be evicted, which deletes that data. Default true; false refuses the node.',
      )
      .optional(),
    force: z
      .boolean()
      .describe(
        'Whether pods without a controller, which nobody makes again, are evicted. Default false: the node is refused, and not touched.',
      )
      .optional(),
    gracePeriodSeconds: z
      .int()
      .min(-1)
      .max(86_400)
      .describe(
        "Seconds that a pod has to end, in place of its own terminationGracePeriodSeconds. Default -1: the pod's own. 0 kills at once.",
      )
      .optional(),
    podSelector: labelSelector
      .describe(
        'Only pods with these labels are moved; all others stay on the node and go down with it, and refuse nothing. Default: every pod.',
      )
      .optional(),
    skipWaitForDeleteTimeout: duration()
      .describe(
        'A pod that should have been gone for longer than this (its deletionTimestamp is older) is not waited for, such as one that a finalizer holds. Default: every pod is waited for.',
      )
      .optional(),
    volumeDetachTimeout: duration()
      .describe(
        'How long, once the pods are gone, their volumes may take to be detached from the node before onTimeout decides. 0s does not wait for them. Default 5m.',
      )
      .optional(),
    waitForCompletion: waitForCompletion.optional(),
    onTimeout: z
      .enum(DRAIN_RUNGS)
      .describe(
        'What happens when the drain has not ended in time. Fail: the node is given back as Failed. Skip: it is given back as Skipped, and the rollout goes on with the next. Delete: the pods that budgets hold are deleted, past their budgets. DeleteUnhealthy: those of them that are not Ready are deleted. Deleting needs a right of its own (worker.mayDeletePods of the chart). Default Fail.',
      )
      .optional(),
    overridableBudgets: z
      .array(budgetReference)
      .max(50)
      .describe(
        'The PodDisruptionBudgets that a deletion may go past. Where another one holds a pod, nothing is deleted and the node is given back as Failed. Default: all.',
      )
      .optional(),
    forceDeleteAfter: duration()
      .describe(
        'How long after the deletion a pod that is still there is deleted with a grace period of 0, whatever it is doing. Default: never.',
      )
      .optional(),
  })
  .meta(
    cel(
      {
        rule: `!has(self.overridableBudgets) || (${DELETES})`,
        message:
          'overridableBudgets says which budgets a deletion may go past: set onTimeout to Delete or DeleteUnhealthy, or leave it out',
      },
      {
        rule: `!has(self.forceDeleteAfter) || (${DELETES})`,
        message: 'forceDeleteAfter counts from a deletion: set onTimeout to Delete or DeleteUnhealthy, or leave it out',
      },
      {
        rule: "!has(self.forceDeleteAfter) || duration(self.forceDeleteAfter) < duration(has(self.timeout) ? self.timeout : '15m')",
        message:
          'forceDeleteAfter must be shorter than timeout (default 15m): that is how long a deletion is waited for',
      },
      {
        rule: "!has(self.waitForCompletion) || duration(self.waitForCompletion.timeout) < duration(has(self.timeout) ? self.timeout : '15m')",
        message: 'waitForCompletion.timeout must be shorter than timeout (default 15m): the drain would end before',
      },
    ),
  )
  .describe('How pods are moved off a node.');

/** What keeps a pod on a node that is drained. */
export const blocker = z
  .object({
    pod: z.string().max(317).describe('The pod, as namespace/name; of a volume, namespace/name of its claim.'),
    reason: z.enum(BLOCKER_REASONS).describe('What keeps it, in a word.'),
    budget: z.string().max(317).describe('The PodDisruptionBudget, as namespace/name.').optional(),
    disruptionsAllowed: z.int().describe('How many disruptions that budget allows.').optional(),
    message: z.string().max(1024).describe('What keeps it, and what lets it go.'),
    since: time().describe('When it was first seen.'),
  })
  .describe('A pod that has not left the node yet.');

export const drainRecord = z
  .object({
    outcome: z.enum(DRAIN_OUTCOMES).describe('What it did, in a word.'),
    message: z.string().max(2048).describe('Which pods or volumes, and why.'),
  })
  .describe('What the drain did that a person should know. Absent where it evicted all, and nothing else.');
