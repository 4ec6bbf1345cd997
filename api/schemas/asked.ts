import { z } from 'zod';
import { time } from './meta.ts';

/** That a person asked for something. */
export const asked = {
  by: z
    .enum(['kubectl', 'temporal'])
    .describe('By which way: what is written into this resource, or a message to the workflow.'),
  who: z
    .string()
    .max(200)
    .describe(
      'Of what is written into this resource the field manager, such as kubectl-annotate; of a message who they said they are. The audit log of the cluster knows better.',
    )
    .optional(),
  reason: z.string().max(1024).describe('Why, as it was given.').optional(),
  at: time().describe('When the rollout took it.'),
};

export const endedBy = z
  .object(asked)
  .describe(
    'Who ended it: by an abort, a cancel, a termination, or an edit of the spec. Absent where it ended by itself.',
  );
