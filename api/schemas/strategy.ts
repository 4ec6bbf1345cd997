import { z } from 'zod';
import { drainStrategy } from './drain.ts';
import { healthGates } from './health-gates.ts';
import { labelSelector } from './label-selector.ts';
import { cel, duration } from './meta.ts';
import { nodeCount, waves } from './waves.ts';
import { windows } from './windows.ts';

/** What of node and image may differ where that is asked for. An architecture, or a boot chain, never may: it would not boot. */
export const MISFITS = ['Distribution', 'Model', 'FIPS', 'Family'] as const;

export const strategy = z
  .object({
    maxUnavailable: nodeCount(1)
      .describe(
        'How many worker nodes may be out at once: a number, or a percentage of the selected workers (rounded down, at least 1). Default 1. Control-plane nodes always go one at a time.',
      )
      .optional(),
    waves: waves.optional(),
    windows: windows.optional(),
    healthGates: healthGates.optional(),
    soak: duration()
      .describe(
        'How long a node must stay Ready without a break after its reboot before it goes back to service. Default 30s.',
      )
      .optional(),
    soakChecks: z
      .object({
        daemonSets: z
          .boolean()
          .describe(
            'Whether the pods of DaemonSets on the node, and static pods, must be Ready during the soak, apart from those that were not Ready before the upgrade. Default true.',
          )
          .optional(),
        maxRestarts: z
          .int()
          .min(0)
          .max(1000)
          .describe(
            'How often a container on the node may restart within one soak; beyond it the soak begins anew. Default 3.',
          )
          .optional(),
        timeout: duration()
          .describe(
            'How long the pods may take until all of this holds for the whole soak, counted from the end of a soak on which nothing went wrong. Then the node ends as Unhealthy and is kept out. Default 10m.',
          )
          .optional(),
        ignorePods: labelSelector
          .meta(
            cel({
              rule: '(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)',
              message:
                'an empty selector would ignore every pod: name labels, or set daemonSets to false and a high maxRestarts',
            }),
          )
          .describe('Pods with these labels are not looked at. Default: all are.')
          .optional(),
      })
      .describe('What must hold of the pods of a node while it soaks.')
      .optional(),
    prePull: z
      .object({
        timeout: duration().describe('How long the pull of the image on one node may take. Default 30m.').optional(),
        ahead: z
          .int()
          .min(1)
          .max(100)
          .describe('On how many nodes the image is pulled ahead of their turn. Default 2.')
          .optional(),
      })
      .describe('The pull of the image on a node, before anything is disrupted.')
      .optional(),
    drain: drainStrategy.optional(),
    reboot: z
      .object({
        timeout: duration()
          .describe('How long a node may take to come back, Ready and reported by its agent. Default 30m.')
          .optional(),
      })
      .describe('The reboot into the new image.')
      .optional(),
    allowMisfit: z
      .array(z.enum(MISFITS))
      .max(MISFITS.length)
      .describe(
        'What may differ between a node and the image although such a node may never join the cluster again: Distribution (of Kubernetes), Model, FIPS, Family. Default: nothing, a node that does not fit is refused. Another architecture, and trusted boot on one side only, are refused in any case.',
      )
      .optional(),
    gateTimeout: duration()
      .describe(
        'How long a node may wait for a closed gate (budget, health, readiness) before it is skipped and the gate is named. Only the time counts in which a maintenance window is open. Default 1h.',
      )
      .optional(),
  })
  .describe('How the rollout proceeds. All fields are optional.');
