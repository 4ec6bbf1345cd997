import { z } from 'zod';
import { blocker, drainRecord } from './drain.ts';
import { cel, condition, imageReference, mapList, time } from './meta.ts';

export const VERDICTS = [
  'Succeeded',
  'AlreadyOnTarget',
  'RolledBack',
  'WrongVersion',
  'NeverRebooted',
  'Unverified',
  'Lost',
  'Unhealthy',
  'UpgradeFailed',
  'Failed',
  'Skipped',
  'Superseded',
  'Cancelled',
] as const;

export const STEPS = [
  'PrePull',
  'Gate',
  'Mark',
  'Cordon',
  'Drain',
  'Upgrade',
  'Reboot',
  'Verify',
  'Soak',
  'Uncordon',
  'Recovery',
] as const;

export const UPGRADE_STATES = ['Idle', 'InProgress', 'Completed', 'Failed', 'RolledBack'] as const;

export const BOOT_STATES = ['active', 'passive', 'recovery', 'livecd', 'unknown'] as const;

const source = z
  .object({
    rollout: z.string().max(1000).describe('Workflow id of the rollout that wrote this spec.'),
    uid: z.string().max(64).describe('UID of the NodeOpUpgrade behind that rollout.').optional(),
    generation: z.int().min(0).describe('Generation of the NodeOpUpgrade that was carried out.'),
  })
  .describe('Who wrote the spec. Written by the operator; absent when a person did.');

export const kairosNodeSpec = z
  .object({
    version: z
      .string()
      .min(1)
      .max(200)
      .describe(
        'The version that this node should run, as the Kairos triple read inside the image, such as v4.0.3-k3sv1.33.9+k3s1.',
      )
      .optional(),
    image: imageReference()
      .describe('The container image to upgrade this node to. Setting it by hand starts an upgrade of this node.')
      .optional(),
    source: source.optional(),
  })
  .meta(
    cel({
      rule: '!has(self.version) || has(self.image)',
      message: 'spec.version needs spec.image: name the image that carries that version',
    }),
  )
  .describe('What this node should run.');

const attemptOf = z
  .object({
    kind: z.enum(['NodeOpUpgrade', 'KairosNode']).describe('The kind of resource that asked.'),
    namespace: z.string().max(63).describe('Namespace in which its pods and Jobs run.'),
    name: z.string().max(253).describe('Name of the resource.'),
    uid: z.string().max(64).describe('UID of the NodeOpUpgrade; empty for a KairosNode edited by hand.'),
    generation: z.int().min(0).describe('Generation of its spec.'),
    attempt: z.int().min(0).describe('Number of the attempt.'),
    try: z
      .int()
      .min(1)
      .describe('Which retry within the attempt, where a person asked for one (kairos.io/retry-node). Absent: none.')
      .optional(),
  })
  .describe('Which attempt of which resource this belongs to.');

const write = z
  .object({
    step: z.enum(['upgrade', 'recovery']).describe('Which image was written: of the active or of the recovery system.'),
    bootID: z.string().max(64).describe('The boot in which it was written.').optional(),
    exitCode: z
      .int()
      .describe(
        'Exit code of the container that wrote it; 0 is success, and what the others mean is in docs/upgrade-job.md. Absent where the machine rebooted before kubelet could tell.',
      )
      .optional(),
    reason: z
      .string()
      .max(1024)
      .describe('Why its container or pod ended, in the words of kubelet, such as OOMKilled or Evicted.')
      .optional(),
    logTail: z
      .string()
      .max(2000)
      .describe('The last lines of its log: at most 20, and 2000 characters, printable ones only.')
      .optional(),
    startedAt: time().optional().describe('When its container began, by the clock of the node.'),
    finishedAt: time().optional().describe('When its container ended, by the clock of the node.'),
  })
  .describe('How the writing of one image ended.');

const writes = (description: string) => mapList(write, 'step').describe(description).optional();
const stepTimes = () =>
  mapList(
    z.object({
      step: z.enum(STEPS).describe('The step.'),
      startedAt: time().describe('When it began, the last time, by the clock of Temporal.'),
    }),
    'step',
  )
    .max(20)
    .describe('When the steps of this attempt began, in their order: each ended where the next one began.')
    .optional();

const evidence = z
  .object({
    bootID: z.string().max(64).describe('The boot in which the node was; absent where the Node was gone.').optional(),
    ready: z.boolean().describe('Whether the node was Ready.'),
    by: z
      .enum(['agent', 'pod'])
      .describe('Who read the following from that boot; absent, with them, where nobody did.')
      .optional(),
    bootState: z.enum(BOOT_STATES).describe('The slot that the machine had booted from.').optional(),
    version: z.string().max(200).describe('The version that it ran, as the Kairos triple.').optional(),
    stamp: z
      .enum(['matches', 'other', 'none'])
      .describe('Whether the image that it ran carried the stamp of this upgrade, of another one, or none.')
      .optional(),
    at: time().describe('When this was judged, by the clock of the operator.'),
  })
  .describe('What the verdict was given on.');

const notReadyBefore = () =>
  z
    .array(z.string().max(600))
    .max(50)
    .describe(
      'DaemonSets and pods that were not Ready on the node before it was cordoned: the upgrade did not break them, so the soak does not wait for them.',
    )
    .optional();

const inHand = z
  .object({
    rollout: z.string().max(1000).describe('Workflow id of the rollout.'),
    request: attemptOf,
    image: z.string().max(1000).describe('The image that is to be written.'),
    pinned: z.string().max(1000).describe('The reference of that image which the pods of this node use.').optional(),
    digest: z.string().max(300).describe('Its digest on this node.').optional(),
    version: z.string().max(200).describe('The version read inside the image.'),
    from: z.string().max(200).describe('The version that the node ran before.').optional(),
    bootID: z.string().max(64).describe('The boot in which the node was taken in hand.'),
    startedAt: time().describe('When the node was taken in hand.'),
    recoveredAt: time().optional().describe('When a workflow took it up again that was not the one which began it.'),
    notReadyBefore: notReadyBefore(),
    steps: stepTimes(),
    drain: drainRecord.optional(),
    writes: writes('What has been written so far, and how that ended.'),
  })
  .describe(
    'The upgrade that is under way: enough to finish it from evidence, should its workflow be lost. Absent when none is.',
  );

const lastAttempt = z
  .object({
    rollout: z.string().max(1000).describe('Workflow id of the rollout.'),
    request: attemptOf.optional(),
    specGeneration: z.int().min(0).describe('Generation of this KairosNode that the attempt was made for.'),
    retry: z.string().max(253).describe('The value of the annotation kairos.io/retry that was answered.').optional(),
    bootID: z.string().max(64).describe('The boot in which the node was taken in hand.').optional(),
    image: z.string().max(1000).describe('The image that was asked for.'),
    digest: z.string().max(300).describe('The digest that the image had on this node.').optional(),
    version: z.string().max(200).describe('The version read inside the image.').optional(),
    from: z.string().max(200).describe('The version that the node ran before.').optional(),
    verdict: z.enum(VERDICTS).describe('How it ended.'),
    message: z.string().max(4096).describe('How it ended, in a sentence.').optional(),
    startedAt: time().optional().describe('When the node was taken out of service.'),
    finishedAt: time().describe('When the verdict was written.'),
    writes: writes('The images that were written, and how that ended; kept when pods and Jobs are gone.'),
    evidence: evidence.optional(),
    steps: stepTimes(),
    notReadyBefore: notReadyBefore(),
  })
  .describe('The last finished upgrade attempt. A drift that equals it is settled: it is not tried again by itself.');

const stamp = z
  .object({
    digest: z.string().max(300).describe('Digest of the image that was written.').optional(),
    image: z.string().max(1000).describe('Image that was written.').optional(),
    rollout: z.string().max(1000).describe('Workflow id of the rollout that wrote it.').optional(),
    sourceBootID: z.string().max(64).describe('Boot id of the boot that wrote it.').optional(),
  })
  .describe('The stamp that the upgrade baked into the image that is running now.');

const recovery = z
  .object({
    image: z.string().max(1000).describe('The image that was written.'),
    digest: z.string().max(300).describe('Its digest.').optional(),
    version: z.string().max(200).describe('The version read inside it.'),
    writtenAt: time().describe('When it was written.'),
    rollout: z.string().max(1000).describe('Workflow id of the rollout that wrote it.'),
  })
  .describe(
    'What is in the recovery system, where this operator wrote it. Absent: not known, and the next upgrade of the recovery system writes it.',
  );

export const kairosNodeAgentStatus = z.object({
  observedVersion: z.string().max(200).describe('The version that the node runs, as the Kairos triple.').optional(),
  release: z
    .record(z.string(), z.string().max(1024))
    .describe('The raw KAIROS_* and distribution fields of the release files.')
    .optional(),
  bootID: z.string().max(64).describe('Boot id of the boot that this report belongs to.').optional(),
  bootState: z.enum(BOOT_STATES).describe('The slot that the machine booted from.').optional(),
  trustedBoot: z
    .boolean()
    .describe('True where the machine was started with trusted boot (UKI); absent where it was not.')
    .optional(),
  loaderEntry: z
    .string()
    .max(100)
    .describe(
      'With trusted boot: the entry that systemd-boot started, such as active+2-1.conf; the numbers are there while a new image is on trial, and only where the loader tells them.',
    )
    .optional(),
  stamp: stamp.optional(),
  agentVersion: z.string().max(64).describe('Version of the agent that reported.').optional(),
  reportedAt: time().optional().describe('When the agent last reported, by the clock of the node.'),
});

export const kairosNodeOperatorStatus = z.object({
  upgradeState: z.enum(UPGRADE_STATES).describe('Where the upgrade of this node stands.').optional(),
  step: z.enum(STEPS).describe('The step that is running.').optional(),
  stepSince: time().optional().describe('Since when the step is running.'),
  message: z
    .string()
    .max(4096)
    .describe('What the step waits for, on whom and since when; or how it ended.')
    .optional(),
  rollout: z.string().max(1000).describe('Workflow id of the rollout that has this node in hand.').optional(),
  workflowID: z.string().max(1000).describe('Workflow id of the upgrade of this node.').optional(),
  inHand: inHand.optional(),
  blockers: mapList(blocker, 'pod')
    .max(20)
    .describe('What keeps the drain: the first 20 pods that have not left the node.')
    .optional(),
  blockedPods: z.int().min(0).describe('How many pods have not left the node.').optional(),
  lastAttempt: lastAttempt.optional(),
  recovery: recovery.optional(),
  conditions: mapList(condition, 'type').describe('Named facts about this node.').optional(),
});

export const kairosNodeStatus = kairosNodeAgentStatus
  .extend(kairosNodeOperatorStatus.shape)
  .describe('What the node runs (written by its agent) and how its upgrade goes (written by the operator).');

export const kairosNode = z
  .object({ spec: kairosNodeSpec.optional(), status: kairosNodeStatus.optional() })
  .describe(
    'A machine that runs Kairos: what it should run, what it runs, and how its upgrade goes. Named after its Node.',
  );
