import { z } from 'zod';
import { time } from './meta.ts';

/** Where the rollout is, and when it will be through. Written by the watcher, from the KairosNodes and the plan. */
export const currentWave = z
  .object({
    name: z.string().max(63).describe('Name of the wave.'),
    number: z.int().min(1).describe('Which one it is.').optional(),
    of: z.int().min(1).describe('Of how many.').optional(),
    nodes: z.int().min(0).describe('How many nodes it has.').optional(),
    done: z.int().min(0).describe('How many of them are on the target.'),
    failed: z.int().min(0).describe('How many of them ended without reaching it.'),
    summary: z.string().max(100).describe('All of that, as printed by kubectl get.'),
  })
  .describe('The wave that is running. Absent when none is.');

export const eta = z
  .object({
    at: time().describe('When the last node will have its verdict, with the median of the upgrades measured.'),
    latest: time().describe('The same, with the 90th percentile for every node that is left.'),
    from: z.string().max(100).describe('What was measured.'),
  })
  .describe(
    'When the rollout will have ended, if no gate closes and nobody has to approve a wave. Rounded. Absent while it is not known: nothing was measured, or the rollout is paused.',
  );

export const nodeStatus = z
  .object({
    phase: z
      .enum(['Pending', 'Running', 'Completed', 'Failed'])
      .describe('Pending: it waits at a gate, was given back untouched, or was left out. The rest is what it says.'),
    message: z
      .string()
      .max(200)
      .describe('What it waits for, or how it ended; its KairosNode says all of it.')
      .optional(),
    rebootStatus: z.enum(['not-requested', 'pending', 'completed']).describe('Whether it has rebooted.').optional(),
    lastUpdated: time().optional().describe('Since when this is so.'),
  })
  .describe('How the upgrade of one node stands, in the words of the Go operator.');
