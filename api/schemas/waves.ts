import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { cel, duration, mapList, written } from './meta.ts';

/** A whole number of nodes of at least `least`, or a percentage. */
export const nodeCount = (least: 0 | 1) =>
  z.union([z.int(), z.string()]).meta({
    'x-kubernetes-int-or-string': true,
    // Of the text form: without it the cost of the rule is taken for that of the longest request.
    maxLength: 4,
    ...cel({
      rule: `type(self) == int ? self >= ${least} : self.matches('^(${least === 0 ? '[0-9]' : '[1-9]'}|[1-9][0-9]|100)%$')`,
      message: `write a whole number of at least ${least}, or a percentage from ${least}% to 100%`,
    }),
  });

const wave = z
  .object({
    name: written(
      /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/,
      'write a name of at most 40 lower-case letters, digits and dashes',
    )
      .max(40)
      .describe('Name of the wave: in the status, in the Temporal UI, and where it is approved.'),
    nodes: nodeCount(1)
      .describe(
        'How many of the selected workers that no wave before it takes: a number, or a percentage of all selected workers (rounded down, at least 1). Without it and without nodeSelector: all that are left.',
      )
      .optional(),
    nodeSelector: labelSelector
      .describe('Of the workers that no wave before it takes, those with these labels. With nodes: at most so many.')
      .optional(),
    maxUnavailable: nodeCount(1)
      .describe(
        'How many nodes may be out at once while this wave runs; percentages are of its nodes (rounded down, at least 1). Default: strategy.maxUnavailable.',
      )
      .optional(),
    soak: duration()
      .describe(
        'How long all nodes of the wave that were upgraded must stay Ready without a break after its last one, before anything else is started, or the rollout is completed. Default: not at all.',
      )
      .optional(),
    approval: z
      .boolean()
      .describe('Whether the wave starts only when a person approves it (kairos.io/approve). Default false.')
      .optional(),
    maxFailed: nodeCount(0)
      .describe(
        'How many nodes of this wave may fail before no further node is started; percentages are of its nodes, rounded down. strategy.maxFailed, where it is given, holds for all waves together as well. Default: only that one; 0 where it is not given.',
      )
      .optional(),
  })
  .describe('A group of workers that are upgraded under one budget.');

/** The waves of the workers; the control plane is before them, and a wave of its own. */
export const waves = mapList(wave, 'name')
  .min(1)
  .max(20)
  .meta(
    cel(
      {
        rule: "self.all(wave, wave.name != 'control-plane' && !wave.name.startsWith('joined-'))",
        message: 'control-plane and joined-… are names of waves that the operator makes itself: take another one',
      },
      {
        rule: 'self.filter(wave, !has(wave.nodes) && !has(wave.nodeSelector)).all(wave, wave.name == self[self.size() - 1].name)',
        message:
          'a wave without nodes and nodeSelector takes all nodes that are left, so only the last one can be such: give the others nodes or nodeSelector',
      },
      {
        rule: "self.all(wave, wave.name != 'workers' || (!has(wave.nodes) && !has(wave.nodeSelector)))",
        message:
          'workers is the wave of all nodes that no other takes: leave nodes and nodeSelector out, or take another name',
      },
    ),
  )
  .describe(
    'The waves of the workers, in their order; workers that none takes are upgraded after them, in a wave named workers. Default: where there is more than one worker, a wave canary of one, which may not fail, then the rest. How long that canary soaks: Default 5m.',
  );
