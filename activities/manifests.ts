import { BOOT_ID_ANNOTATION, NODE_LABEL, NODE_NAME_ANNOTATION, STEP_LABEL, WORKFLOW_ANNOTATION } from '../api/names.ts';
import type { NodeInHand, NodeRef, RolloutContext } from '../api/messages.ts';
import { labelValue, objectName } from '../kube/names.ts';
import { EVIDENCE_SCRIPT, FORCED_REBOOT_SCRIPT, REBOOT_SCRIPT, UPGRADE_SCRIPT } from './scripts.ts';

const HOST = { name: 'host', mountPath: '/host' };
const HOST_VOLUME = { name: 'host', hostPath: { path: '/' } };

/** What every pod of ours has: pinned to its node past the scheduler, tolerating every taint, without a token. */
function podSpec(context: RolloutContext, node: NodeRef) {
  return {
    nodeName: node.name,
    tolerations: [{ operator: 'Exists' }],
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    imagePullSecrets: context.spec.imagePullSecrets.map((name) => ({ name })),
  };
}

function metadata(context: RolloutContext, node: NodeRef, step: string, name: string, bootID?: string) {
  return {
    name,
    namespace: context.request.namespace,
    labels: { [STEP_LABEL]: step, [NODE_LABEL]: labelValue(node.name), 'app.kubernetes.io/part-of': 'kairos-operator' },
    annotations: {
      [NODE_NAME_ANNOTATION]: node.name,
      [WORKFLOW_ANNOTATION]: context.rolloutID,
      ...(bootID === undefined ? {} : { [BOOT_ID_ANNOTATION]: bootID }),
    },
  };
}

const bothFiles = ['kairos-release', 'os-release'] as const;

/** The container of the pre-pull that ends with 0 where the image can upgrade a machine with trusted boot. */
export const TRUSTED_BOOT_CONTAINER = 'trusted-boot';
/** Where an image carries the signed files for such a machine, and where the machine's own agent is shown them. */
const TRUSTED_BOOT_FILES = '/trusted-boot';
const TRUSTED_BOOT_SOURCE = '/usr/local/trusted-boot';

/**
 * The pod that brings the image to the node and reads its release files, without a shell: the files are copied to the
 * termination log, of which the API keeps 4096 bytes each. An old image may lack one of the two. `again`: another pod,
 * which asks the registry whatever the node has. For a
 * machine with trusted boot the image must have the signed files, and a shell for the Job that writes them.
 */
export function prePullPod(
  context: RolloutContext,
  node: NodeRef,
  {
    again = false,
    image = context.spec.image,
    trustedBoot = false,
  }: { again?: boolean; image?: string; trustedBoot?: boolean } = {},
) {
  const name = objectName(
    'kairos-pull',
    node.name,
    node.uid,
    context.rolloutID,
    String(context.request.attempt),
    context.spec.image,
    ...(again ? ['again'] : []),
  );
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata(context, node, 'pre-pull', name),
    spec: {
      ...podSpec(context, node),
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      containers: [
        ...bothFiles.map((file) => ({ name: file as string, command: ['cp', `/etc/${file}`, '/dev/termination-log'] })),
        ...(trustedBoot
          ? [{ name: TRUSTED_BOOT_CONTAINER, command: ['/bin/sh', '-c', `test -d ${TRUSTED_BOOT_FILES}`] }]
          : []),
      ].map(({ name, command }) => ({
        name,
        image,
        imagePullPolicy: again ? 'Always' : 'IfNotPresent',
        command,
        resources: { requests: { cpu: '1m', memory: '8Mi' } },
      })),
    },
  };
}

const upgradeArguments = ({ spec }: NodeInHand, step: WriteStep, trustedBoot: boolean): string[] => [
  ...(spec.debug ? ['--debug'] : []),
  'upgrade',
  ...(step === 'recovery' ? ['--recovery'] : []),
  '--source',
  trustedBoot ? `dir:${TRUSTED_BOOT_SOURCE}` : 'dir:/',
  ...spec.excludePaths.flatMap((path) => ['--exclude-path', path]),
];

/** The stamp that the upgrade bakes into the new image, read back by the agent after the reboot. */
function stampText(hand: NodeInHand): string {
  return JSON.stringify({
    image: hand.target.image,
    ...(hand.target.digest === undefined ? {} : { digest: hand.target.digest }),
    rollout: hand.rolloutID,
    sourceBootID: hand.bootID,
  });
}

export type WriteStep = 'upgrade' | 'recovery';

/** The name of the Job that writes the active image in one boot of one node. */
export const upgradeJobName = (node: NodeRef, bootID: string) =>
  objectName('kairos-upgrade', node.name, node.uid, bootID);

/**
 * The name of the Job that writes the recovery image, once in an attempt: no other slot is lost by another attempt in the
 * same boot, and that one may be for another image.
 */
const recoveryJobName = ({ node, bootID, rolloutID, request: { uid, generation, attempt } }: NodeInHand) =>
  objectName('kairos-recovery', node.name, node.uid, bootID, rolloutID, uid, String(generation), String(attempt));

/** The name of the Job that writes this image in the boot in which the node is in hand. */
export const writeJobName = (hand: NodeInHand, step: WriteStep): string =>
  step === 'upgrade' ? upgradeJobName(hand.node, hand.bootID) : recoveryJobName(hand);

/**
 * The Job that writes the image. For the active one its name is made of the node's UID and the boot id and nothing else,
 * so that a retry, a retarget or a second rollout in the same boot finds the same Job. No owner (garbage collection would kill it), no
 * TTL, no deadline once it runs: killed between two renames, the machine has nothing left to boot. A machine that has
 * trusted boot where none was expected, or the reverse, is not touched: the script looks again.
 */
export function writeJob(hand: NodeInHand, step: WriteStep, { trustedBoot = false } = {}) {
  const { node } = hand;
  const name = writeJobName(hand, step);
  const meta = metadata(hand, node, step, name, hand.bootID);
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: meta,
    spec: {
      backoffLimit: 0,
      template: {
        metadata: { labels: meta.labels, annotations: meta.annotations },
        spec: {
          ...podSpec(hand, node),
          restartPolicy: 'Never',
          hostPID: true,
          // A pod that somebody deletes goes on writing: killed half-way, the machine has nothing left to boot.
          terminationGracePeriodSeconds: 3600,
          priorityClassName: 'system-node-critical',
          containers: [
            {
              name: step,
              image: hand.target.pinned,
              imagePullPolicy: 'IfNotPresent',
              command: ['/bin/sh', '-c', UPGRADE_SCRIPT, step, ...upgradeArguments(hand, step, trustedBoot)],
              env: [
                { name: 'HOST_DIR', value: '/host' },
                { name: 'STEP', value: step },
                { name: 'BOOT_ID', value: hand.bootID },
                { name: 'LOCK', value: step === 'upgrade' ? `upgrade-${hand.bootID}` : name },
                { name: 'TRUSTED_BOOT', value: trustedBoot ? 'yes' : 'no' },
                { name: 'STAMP', value: stampText(hand) },
              ],
              securityContext: { privileged: true },
              resources: { requests: { cpu: '10m', memory: '256Mi' } },
              terminationMessagePolicy: 'FallbackToLogsOnError',
              volumeMounts: [HOST],
            },
          ],
          volumes: [HOST_VOLUME],
        },
      },
    },
  };
}

/**
 * The pod that reboots the machine once, in the image that is on the node already. The forced one has another name, so
 * that it is made while the first still is there. On the host's network: a node that is not Ready may be so for want of
 * one, and kubelet starts no other pods there.
 */
export function rebootPod(hand: NodeInHand, how: 'asked' | 'forced' = 'asked') {
  const forced = how === 'forced';
  const name = objectName(
    forced ? 'kairos-reboot-forced' : 'kairos-reboot',
    hand.node.name,
    hand.node.uid,
    hand.bootID,
  );
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata(hand, hand.node, 'reboot', name, hand.bootID),
    spec: {
      ...podSpec(hand, hand.node),
      restartPolicy: 'OnFailure',
      hostPID: true,
      hostNetwork: true,
      terminationGracePeriodSeconds: 0,
      priorityClassName: 'system-node-critical',
      containers: [
        {
          name: 'reboot',
          image: hand.target.pinned,
          imagePullPolicy: 'IfNotPresent',
          command: ['/bin/sh', '-c', forced ? FORCED_REBOOT_SCRIPT : REBOOT_SCRIPT],
          env: [{ name: 'BOOT_ID', value: hand.bootID }],
          securityContext: { privileged: true },
          resources: { requests: { cpu: '1m', memory: '8Mi' } },
        },
      ],
    },
  };
}

/** The pod that reads what a node runs in one boot, in the place of its agent. It can write nothing. */
export function evidencePod(hand: NodeInHand, bootID: string) {
  const name = objectName('kairos-evidence', hand.node.name, hand.node.uid, hand.bootID, bootID);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata(hand, hand.node, 'evidence', name, bootID),
    spec: {
      ...podSpec(hand, hand.node),
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 0,
      priorityClassName: 'system-node-critical',
      containers: [
        {
          name: 'evidence',
          image: hand.target.pinned,
          imagePullPolicy: 'IfNotPresent',
          command: ['/bin/sh', '-c', EVIDENCE_SCRIPT],
          env: [{ name: 'HOST_DIR', value: '/host' }],
          securityContext: {
            runAsUser: 0,
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
            seccompProfile: { type: 'RuntimeDefault' },
          },
          resources: { requests: { cpu: '1m', memory: '8Mi' } },
          volumeMounts: [{ ...HOST, readOnly: true }],
        },
      ],
      volumes: [HOST_VOLUME],
    },
  };
}
