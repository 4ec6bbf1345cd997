import { z } from 'zod';
import { VERDICTS, STEPS } from './kairos-node.ts';
import { labelSelector } from './label-selector.ts';
import { asked, endedBy } from './asked.ts';
import { history } from './history.ts';
import { cel, condition, imageReference, mapList, time, written } from './meta.ts';
import { planStatus, plannedWaves } from './plan.ts';
import { currentWave, eta, nodeStatus } from './progress.ts';
import { ROLLOUT_PHASES } from './rollout-phase.ts';
import { strategy } from './strategy.ts';

export const nodeOpUpgradeSpec = z
  .object({
    image: imageReference().describe(
      'The container image to upgrade the nodes to. Its version is read inside it, never derived from the tag.',
    ),
    nodeSelector: labelSelector
      .describe('Which nodes to upgrade, by a label selector over Nodes. Default: all nodes that run Kairos.')
      .optional(),
    imagePullSecrets: z
      .array(
        z
          .object({ name: z.string().min(1).max(253).describe('Name of a Secret in this namespace.') })
          .describe('A reference to a Secret.'),
      )
      .max(20)
      .describe('Secrets for pulling the image.')
      .optional(),
    concurrency: z
      .int()
      .min(0)
      .max(10000)
      .describe(
        'How many worker nodes may be out at once; 0 means the default of 1. strategy.maxUnavailable is the newer form.',
      )
      .optional(),
    stopOnFailure: z
      .boolean()
      .describe(
        'Whether the rollout stops starting nodes after the first failed one. Default true: a bad image should meet one node. strategy.maxFailed is the newer form; false means no limit.',
      )
      .optional(),
    upgradeActive: z.boolean().describe('Whether to upgrade the active system. Default true.').optional(),
    upgradeRecovery: z
      .boolean()
      .describe('Whether to upgrade the recovery system too, after the new active system is verified. Default false.')
      .optional(),
    force: z
      .boolean()
      .describe('Upgrade nodes that already run the target, too. It overrides no gate and no disruption budget.')
      .optional(),
    debug: z.boolean().describe('Run kairos-agent with --debug.').optional(),
    uncordonOnFailure: z
      .boolean()
      .describe(
        'What happens to a node whose upgrade failed. Unset: it goes back to service where it is known to serve. true: also where the upgrade itself failed. false: never.',
      )
      .optional(),
    excludePaths: z
      .array(written(/^\//, 'write absolute paths, such as /etc/issue').max(1000))
      .max(100)
      .describe('Paths of the image that are left out of the upgrade. Needs kairos-agent 3.6.0 or newer in the image.')
      .optional(),
    dryRun: z
      .boolean()
      .describe(
        'Only plan: the image is pulled on one node of each architecture, evictions are tried without carrying them out, and the rollout ends as Planned, with all of it in status.plan. No node is touched. Setting it to false carries the plan out. Default false.',
      )
      .optional(),
    strategy: strategy.optional(),
  })
  .meta(
    cel(
      {
        rule: '!(has(self.concurrency) && self.concurrency > 0 && has(self.strategy) && has(self.strategy.maxUnavailable))',
        message:
          'concurrency and strategy.maxUnavailable say the same thing: keep strategy.maxUnavailable and remove concurrency',
      },
      {
        rule: '!(has(self.stopOnFailure) && has(self.strategy) && has(self.strategy.maxFailed))',
        message:
          'stopOnFailure and strategy.maxFailed say the same thing: keep strategy.maxFailed (0 is stopOnFailure: true) and remove stopOnFailure',
      },
      {
        rule: '(!has(self.upgradeActive) || self.upgradeActive) || (has(self.upgradeRecovery) && self.upgradeRecovery)',
        message: 'nothing to do: set upgradeActive or upgradeRecovery to true',
      },
    ),
  )
  .describe('The image that the selected nodes should run, and how to get there.');

const failedNode = z
  .object({
    name: z.string().max(253).describe('Name of the node.'),
    verdict: z.enum(VERDICTS).describe('How its upgrade ended.'),
    message: z.string().max(1024).describe('Why, and what to do.').optional(),
    correctedTo: z
      .enum(VERDICTS)
      .describe(
        'What it turned out to be after the rollout had ended, by evidence that came late. Written by the watcher.',
      )
      .optional(),
  })
  .describe('A node that did not reach the target.');

const paused = z
  .object({
    by: z
      .enum(['kubectl', 'temporal'])
      .describe('kubectl: the annotation kairos.io/pause, lifted by removing it. temporal: a signal or an update.'),
    who: asked.who,
    reason: z.string().max(1024).describe('Why, as it was given.'),
    since: time().describe('Since when.'),
  })
  .describe('Why no further node is started. Absent when the rollout is not paused.');

const supersededNode = z
  .object({
    name: z.string().max(253).describe('Name of the node.'),
    by: z.string().max(317).describe('Namespace and name of the NodeOpUpgrade that it was left to.'),
  })
  .describe('A node that another NodeOpUpgrade wants with another image, and that was not touched.');
const approvals = mapList(
  z
    .object({ wave: z.string().max(63).describe('Name of the wave.'), ...asked })
    .describe('A wave that a person has approved.'),
  'wave',
).max(50);

const skipped = mapList(
  z
    .object({ name: z.string().max(253).describe('Name of the node.'), ...asked })
    .describe('A node that a person left out.'),
  'name',
).max(100);

const rolloutRequest = z
  .object({
    what: z.string().max(512).describe('What was asked: pause, resume, approve, skip, retry or abort, and of what.'),
    ...asked,
    accepted: z.boolean().describe('Whether it was done.'),
    message: z.string().max(1024).describe('The answer.'),
  })
  .describe('Something that a person asked of the rollout.');

export const rolloutStatus = z
  .object({
    workflowID: z.string().max(1000).describe('Workflow id of the rollout: look it up in the Temporal UI.'),
    generation: z.int().min(0).describe('Generation of the spec that this rollout carries out.'),
    attempt: z.int().min(1).describe('Number of this attempt, counted over the life of the resource.'),
    phase: z.enum(ROLLOUT_PHASES).describe('Where the rollout stands. It never changes after the attempt ended.'),
    wave: z.string().max(63).describe('The wave that is running.').optional(),
    message: z.string().max(4096).describe('What happens now, or how it ended and what to do.').optional(),
    image: z.string().max(1000).describe('The image of the target.').optional(),
    version: z.string().max(200).describe('The version read inside the image.').optional(),
    retry: z.string().max(253).describe('The value of the annotation kairos.io/retry that was answered.').optional(),
    paused: paused.optional(),
    nextWindow: time()
      .optional()
      .describe('When the next maintenance window opens; absent while nodes may be started.'),
    approval: z
      .object({
        wave: z.string().max(63).describe('Name of the wave.'),
        since: time().describe('Since when.'),
      })
      .describe('The wave that waits until a person approves it. Absent when none does.')
      .optional(),
    approvals: approvals.describe('The waves that were approved in this attempt: by whom, when and why.').optional(),
    skipped: skipped
      .describe('The nodes that were left out by people in this attempt. They count as Skipped, and not as failed.')
      .optional(),
    leavingOut: skipped
      .describe('The nodes that are to be left out and have not ended: before their turn, or on their way back.')
      .optional(),
    requests: z
      .array(rolloutRequest)
      .max(20)
      .describe('The last 20 things that people asked of this attempt.')
      .optional(),
    endedBy: endedBy.optional(),
    total: z.int().min(0).describe('How many nodes were planned.').optional(),
    waves: plannedWaves
      .describe('The first 50 waves that this attempt carries out; status.plan may have been made again since.')
      .optional(),
    verdicts: z.record(z.string(), z.int()).describe('How many nodes ended with which verdict.').optional(),
    verdictsBefore: z
      .record(z.string(), z.int())
      .describe('How many had ended with which verdict when the wave began.')
      .optional(),
    soakUntil: time().optional().describe('Until when the wave soaks, at the earliest. Absent while none does.'),
    failed: mapList(failedNode, 'name')
      .max(100)
      .describe('The first 100 nodes that did not reach the target.')
      .optional(),
    superseded: mapList(supersededNode, 'name')
      .max(100)
      .describe('The first 100 nodes that were left to a NodeOpUpgrade that was created later.')
      .optional(),
    newNodes: z
      .enum(['Ignore', 'Upgrade'])
      .describe('What is done about nodes that join, as it was when the rollout started, defaults included.')
      .optional(),
    youngestNode: time()
      .optional()
      .describe(
        'The creationTimestamp of the youngest Node of the cluster when the rollout started: those that were created later have joined since.',
      ),
    startedAt: time().optional().describe('When the rollout started.'),
    finishedAt: time().optional().describe('When the rollout ended.'),
  })
  .describe('The rollout, written by its workflow.');

const nodeInFlight = z
  .object({
    name: z.string().max(253).describe('Name of the node.'),
    step: z.enum(STEPS).describe('The step that is running.').optional(),
    since: time().optional().describe('Since when.'),
    message: z.string().max(1024).describe('What it waits for.').optional(),
    blocker: z
      .string()
      .max(1500)
      .describe('The first of the pods and volumes that keep its drain, and what lets it go.')
      .optional(),
    blockedPods: z.int().min(0).describe('How many pods have not left it.').optional(),
  })
  .describe('A node in hand.');

const counts = z
  .object({
    total: z.int().min(0).describe('Nodes planned.'),
    done: z.int().min(0).describe('Nodes on the target.'),
    inFlight: z.int().min(0).describe('Nodes in hand.'),
    failed: z.int().min(0).describe('Nodes that ended without reaching the target.'),
    summary: z.string().max(63).describe('Done of total, as printed by kubectl get.'),
  })
  .describe('Counts of nodes.');

const answeredRequest = (what: string) =>
  z
    .object({
      value: z.string().max(4096).describe('The value of the annotation.'),
      attempt: z.int().min(0).describe('The attempt that was asked; 0: none had begun.'),
      number: z.int().min(1).describe('How many values of this annotation were taken so far.'),
      at: time().describe('When it was taken.'),
      accepted: z.boolean().describe('Whether it was done. Absent while no worker has answered.').optional(),
      message: z.string().max(4096).describe('The answer.').optional(),
      gone: z.boolean().describe('The annotation was taken away since: the same value asks anew.').optional(),
    })
    .describe(`The last value of the annotation ${what} that was taken, and what was answered.`)
    .optional();

const askedRequests = z
  .object({
    approve: answeredRequest('kairos.io/approve'),
    skip: answeredRequest('kairos.io/skip'),
    retryNode: answeredRequest('kairos.io/retry-node'),
    abort: answeredRequest('kairos.io/abort'),
    plan: answeredRequest('kairos.io/plan'),
  })
  .describe('What was asked by annotations, each once for each new value, and what was answered.');

export const nodeOpUpgradeStatus = z
  .object({
    phase: z.enum(ROLLOUT_PHASES).describe('Where the upgrade stands.').optional(),
    message: z.string().max(4096).describe('What happens now, or how it ended and what to do.').optional(),
    observedGeneration: z.int().min(0).describe('The generation of the spec that this status is about.').optional(),
    nodes: counts.optional(),
    inFlight: mapList(nodeInFlight, 'name')
      .max(100)
      .describe('The first 100 nodes in hand; behind them those that wait at a gate.')
      .optional(),
    wave: currentWave.optional(),
    eta: eta.optional(),
    nodeStatuses: z
      .record(z.string(), nodeStatus)
      .describe(
        'The nodes of this attempt by name, at most 100: failed ones and those in hand before the others. For programs that read the status of the Go operator; kubectl get kairosnodes shows all.',
      )
      .optional(),
    nodeStatusesLeftOut: z.int().min(0).describe('How many nodes nodeStatuses has no room for.').optional(),
    requests: askedRequests.optional(),
    conditions: mapList(condition, 'type').describe('Named facts about this upgrade.').optional(),
    plan: planStatus.optional(),
    history: history.optional(),
    lastUpdated: time().optional().describe('When this status was last written.'),
    rollout: rolloutStatus.optional(),
  })
  .describe(
    'How the upgrade goes. Written by the watcher, but for status.rollout, status.plan and status.history, which the rollout itself writes.',
  );

export const nodeOpUpgrade = z
  .object({ spec: nodeOpUpgradeSpec, status: nodeOpUpgradeStatus.optional() })
  .describe('Upgrades the selected Kairos nodes to an image, one careful step after the other.');
