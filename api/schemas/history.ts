import { z } from 'zod';
import { asked, endedBy } from './asked.ts';
import { VERDICTS } from './kairos-node.ts';
import { mapList, time } from './meta.ts';
import { ROLLOUT_PHASES } from './rollout-phase.ts';

const failedNode = z
  .object({
    name: z.string().max(253).describe('Name of the node.'),
    verdict: z.enum(VERDICTS).describe('How its upgrade ended.'),
    message: z.string().max(300).describe('Why, the beginning of it.').optional(),
  })
  .describe('A node that did not reach the target.');

const pastRequest = z
  .object({
    what: z.string().max(120).describe('What was asked, and of what, the beginning of it.'),
    ...asked,
    accepted: z.boolean().describe('Whether it was done.'),
  })
  .describe('Something that a person asked of it.');

const pastAttempt = z
  .object({
    attempt: z.int().min(1).describe('Number of the attempt.'),
    generation: z.int().min(0).describe('Generation of the spec that it carried out.'),
    image: z.string().max(1000).describe('The image of the target.').optional(),
    version: z.string().max(200).describe('The version read inside the image.').optional(),
    phase: z.enum(ROLLOUT_PHASES).describe('How it ended.'),
    message: z.string().max(1000).describe('How it ended, the beginning of it.').optional(),
    retry: z.string().max(253).describe('The value of kairos.io/retry that it answered.').optional(),
    paused: z.string().max(1000).describe('By whom and why it was paused, where it was when it ended.').optional(),
    endedBy: endedBy.optional(),
    requests: z
      .array(pastRequest)
      .max(5)
      .describe('The last 5 things that people asked of it: what, by whom, when and why.')
      .optional(),
    total: z.int().min(0).describe('How many nodes were planned.').optional(),
    verdicts: z.record(z.string(), z.int()).describe('How many nodes ended with which verdict.').optional(),
    failed: mapList(failedNode, 'name')
      .max(10)
      .describe('The first 10 nodes that did not reach the target.')
      .optional(),
    startedAt: time().optional().describe('When it started.'),
    finishedAt: time().optional().describe('When it ended, or when its end was found.'),
  })
  .describe('An attempt that has ended.');

export const history = mapList(pastAttempt, 'attempt')
  .max(10)
  .describe(
    'The last 10 attempts that have ended, the newest first. It outlives the retention of Temporal. Written when an attempt ends.',
  );
