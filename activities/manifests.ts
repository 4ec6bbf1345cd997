import {
  BOOT_ID_ANNOTATION,
  NODE_LABEL,
  NODE_NAME_ANNOTATION,
  NODE_UID_ANNOTATION,
  STEP_LABEL,
  WORKFLOW_ANNOTATION,
} from '../api/names.ts';
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
      [NODE_UID_ANNOTATION]: node.uid,
      [WORKFLOW_ANNOTATION]: context.rolloutID,
      ...(bootID === undefined ? {} : { [BOOT_ID_ANNOTATION]: bootID }),
    },
  };
}

const bothFiles = ['kairos-release', 'os-release'] as const;

/**
 * The pod that brings the image to the node and reads its release files, without a shell: the files are copied to the
 * termination log, of which the API keeps 4096 bytes each. An old image may lack one of the two. `again`: another pod,
 * which asks the registry whatever the node has.
 */
export function prePullPod(
  context: RolloutContext,
  node: NodeRef,
  { again = false, image = context.spec.image }: { again?: boolean; image?: string } = {},
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
      containers: bothFiles.map((file) => ({
        name: file,
        image,
        imagePullPolicy: again ? 'Always' : 'IfNotPresent',
        command: ['cp', `/etc/${file}`, '/dev/termination-log'],
        resources: { requests: { cpu: '1m', memory: '8Mi' } },
      })),
    },
  };
}

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

/** The name of the Job that writes in one boot of one node. */
export const writeJobName = (step: WriteStep, node: NodeRef, bootID: string) =>
  objectName(`kairos-${step}`, node.name, node.uid, bootID);

/**
 * The Job that writes the image. Its name is made of the node's UID and the boot id and nothing else, so that a retry,
 * a retarget or a second rollout in the same boot finds the same Job. No owner (garbage collection would kill it), no
 * TTL, no deadline once it runs: killed between two renames, the machine has nothing left to boot.
 */
export function writeJob(hand: NodeInHand, step: WriteStep) {
  const { spec, node } = hand;
  const meta = metadata(hand, node, step, writeJobName(step, node, hand.bootID), hand.bootID);
  const args = [
    ...(spec.debug ? ['--debug'] : []),
    'upgrade',
    ...(step === 'recovery' ? ['--recovery'] : []),
    '--source',
    'dir:/',
    ...spec.excludePaths.flatMap((path) => ['--exclude-path', path]),
  ];
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
              command: ['/bin/sh', '-c', UPGRADE_SCRIPT, step, ...args],
              env: [
                { name: 'HOST_DIR', value: '/host' },
                { name: 'STEP', value: step },
                { name: 'BOOT_ID', value: hand.bootID },
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
