import { z } from 'zod';
import { LABEL_KEY, LABEL_VALUE, cel, written } from './meta.ts';

const LABEL_KEY_MESSAGE = 'write label keys such as disk or topology.kubernetes.io/zone';

const labelSelectorRequirement = z
  .object({
    key: written(new RegExp(`^${LABEL_KEY}$`), LABEL_KEY_MESSAGE)
      .max(317)
      .describe('The label key.'),
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('How the key relates to the values.'),
    values: z.array(z.string().max(63)).max(100).describe('The values, for In and NotIn.').optional(),
  })
  .meta(
    cel({
      rule: "self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) || size(self.values) == 0 : has(self.values) && size(self.values) > 0",
      message: 'give at least one value for In and NotIn, and none for Exists and DoesNotExist',
    }),
  )
  .describe('One requirement on a label.');

export const labelSelector = z
  .object({
    matchLabels: z
      .record(z.string(), z.string().max(63))
      .meta({
        maxProperties: 50,
        ...cel(
          { rule: `self.all(key, key.matches(r'^${LABEL_KEY}$'))`, message: LABEL_KEY_MESSAGE },
          {
            rule: `self.all(key, self[key].matches(r'^${LABEL_VALUE}$'))`,
            message: 'a label value has letters, digits, and - _ . between them',
          },
        ),
      })
      .describe('Labels that must be equal.')
      .optional(),
    matchExpressions: z.array(labelSelectorRequirement).max(50).describe('Requirements that must all hold.').optional(),
  })
  .describe('A label selector.');
