import { z } from 'zod';
import { time } from './meta.ts';

/** What comes of a risk: the worst first. */
export const RISK_EFFECTS = ['Refuses', 'Waits', 'Loses', 'Interrupts', 'Notes'] as const;

export const RISK_REASONS = [
  'RolloutRefused',
  'NodeRefused',
  'PullFailed',
  'GateClosed',
  'BudgetTaken',
  'BudgetBlocks',
  'EvictionRefused',
  'UnmanagedPods',
  'LocalVolumes',
  'EmptyDirData',
  'SingleReplica',
  'ControlPlane',
  'NowhereToGo',
  'Superseded',
  'NotTried',
] as const;

const risk = z
  .object({
    effect: z
      .enum(RISK_EFFECTS)
      .describe(
        'Refuses: nodes, or the rollout, end without having been touched. Waits: a drain or a gate stays closed, until its deadline. Loses: data goes. Interrupts: something is down for a while. Notes: worth knowing.',
      ),
    reason: z.enum(RISK_REASONS).describe('What it is; docs/plan.md has one paragraph for each.'),
    count: z.int().min(0).describe('How many nodes or pods it is about.'),
    message: z.string().max(1000).describe('What was seen, of what, and what to do.'),
  })
  .describe('Something that a person should know before the rollout begins.');

const wave = z
  .object({
    name: z.string().max(63).describe('Name of the wave.'),
    group: z.enum(['control-plane', 'worker']).describe('Which nodes are in it.'),
    nodes: z.int().min(0).describe('How many nodes.'),
    maxUnavailable: z.int().min(1).describe('How many of them may be out at once.'),
    soakSeconds: z.int().min(0).describe('How long all of its nodes must stay Ready after it.').optional(),
    approval: z.boolean().describe('Whether a person must approve it before it starts.').optional(),
  })
  .describe('A group of nodes that are upgraded under one budget.');

export const plannedWaves = z.array(wave).max(50);

const estimate = z
  .object({
    typical: z.string().max(20).describe('With the median of the upgrades that were measured.'),
    long: z.string().max(20).describe('With the 90th percentile of them for every node.'),
    upgrades: z.int().min(1).describe('How many upgrades of nodes of this cluster were measured.'),
  })
  .describe(
    'How long it takes, from the mark of the first node to the verdict of the last one. Without the first pull, closed gates, approvals and pauses. Absent where no node of the cluster was upgraded before.',
  );

/** The plan as the resource shows it; the whole report is the answer of the query `plan`. */
export const planStatus = z
  .object({
    generation: z.int().min(0).describe('Generation of the spec that was planned.'),
    attempt: z
      .int()
      .min(1)
      .describe('The attempt that planned; of a plan that was asked for, the one that runs, or would be the next.'),
    asked: z
      .string()
      .max(4096)
      .describe('The value of the annotation kairos.io/plan that it answers. Absent: an attempt made it for itself.')
      .optional(),
    plannedAt: time().describe('When it was made.'),
    summary: z.string().max(1000).describe('The plan in one line.'),
    image: z.string().max(1000).describe('The image.'),
    version: z.string().max(200).describe('The version inside the image, where it is known.').optional(),
    versionFrom: z.string().max(400).describe('How the version is known, or when it will be read.'),
    refused: z
      .string()
      .max(1000)
      .describe('Why the rollout would be refused as a whole. Absent: nothing was seen that refuses it.')
      .optional(),
    total: z.int().min(0).describe('How many nodes are planned.'),
    touched: z
      .int()
      .min(0)
      .describe(
        'To how many of them anything would be done: the others run the image, are refused, or are left to others.',
      )
      .optional(),
    waves: plannedWaves.describe('The first 50 waves, in their order.').optional(),
    leftAlone: z
      .array(
        z.object({
          name: z.string().max(253).describe('Name of the node.'),
          reason: z.string().max(400).describe('Why.'),
        }),
      )
      .max(20)
      .describe('The first 20 nodes that were selected and are not upgraded.')
      .optional(),
    leftAloneCount: z.int().min(0).describe('How many those are.'),
    risks: z.array(risk).max(30).describe('The 30 worst risks.').optional(),
    riskCount: z.int().min(0).describe('How many risks there are.'),
    duration: estimate.optional(),
    table: z
      .string()
      .max(12000)
      .describe(
        "The plan as a table, for people: the first 50 nodes. kubectl get nodeopupgrade … -o jsonpath='{.status.plan.table}'",
      ),
  })
  .describe(
    'What an attempt was going to do, as it was seen before any node was touched, or, where a person asked for a plan since, what was left to do then. Written by the rollout, once an attempt, and for each such request.',
  );
