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
    maxFailed: nodeCount(0)
      .describe(
        'How many nodes of the rollout may fail before no further node is started: a number, or a percentage of its nodes (rounded down). Nodes in flight are finished, and the rollout ends as Failed. A failed control-plane node stops it in any case. Default 0, but for waves with a maxFailed of their own.',
      )
      .optional(),
    controlPlane: z
      .object({
        canaryWorkerFirst: z
          .boolean()
          .describe(
            'Whether one worker is upgraded before the control plane, in a wave of its own. Only where the image has the minor version of Kubernetes that the control plane runs: otherwise the rollout is refused at the first pull. Without control-plane nodes in the selection nothing changes. Default false: the first control-plane node is the canary of the control plane.',
          )
          .optional(),
      })
      .describe('The control plane, which goes one node at a time and before the workers.')
      .optional(),
    newNodes: z
      .enum(['Ignore', 'Upgrade'])
      .describe(
        'What is done about nodes that match the selector and join after the plan was made. Ignore: nothing. Upgrade: they are upgraded at the end of the rollout, in waves named joined-1 and so on; after a rollout that completed, the next attempt opens when the agent of such a node reports another version. Default Ignore.',
      )
      .optional(),
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
        when: z
          .enum(['Always', 'WindowOpen'])
          .describe(
            'When a pull may begin. Always: also while no maintenance window is open, so that a window is not spent on pulls. WindowOpen: only while one is open, where the link must not be loaded outside of them; a pull that has begun is finished. Without strategy.windows both are the same. Default Always.',
          )
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
