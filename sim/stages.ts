import { STEP_LABEL } from '../api/names.ts';
import type { RegisteredImage } from './images.ts';
import { POWER_LABEL } from './node-object.ts';
import type { Timings } from './timings.ts';

/** Lets a pod take its whole grace period to stop. */
export const STOPS_LATE_ANNOTATION = 'sim.kairos.io/stops-late';

interface MatchExpression {
  key: string;
  operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  values?: string[];
}

interface Delay {
  durationMilliseconds?: number;
  durationFrom?: { expressionFrom: string };
}

interface Next {
  statusTemplate?: string;
  delete?: boolean;
}

const STEP = `.metadata.labels["${STEP_LABEL}"]`;
const PRE_PULL: MatchExpression = { key: STEP, operator: 'In', values: ['pre-pull'] };
/** Pods of every other step are run for real, by kubelet.ts. */
const ORDINARY: MatchExpression = { key: STEP, operator: 'DoesNotExist' };
const LIVES: MatchExpression = { key: '.metadata.deletionTimestamp', operator: 'DoesNotExist' };
const PENDING: MatchExpression = { key: '.status.phase', operator: 'In', values: ['Pending'] };
const RUNNING: MatchExpression = { key: '.status.phase', operator: 'In', values: ['Running'] };
const IMAGE = '.spec.containers.[0].image';
const WAITING_REASON = '.status.containerStatuses.[].state.waiting.reason';

/**
 * What kwok does for the nodes that are on and for the pods on them. The stages of one object exclude each other, so
 * that kwok never draws lots. References of images are those of the registry now: a later one needs a restart of kwok.
 */
export function kwokStages(images: readonly RegisteredImage[], timings: Timings): object[] {
  const { pullMs, podStartMs, podStopMs } = timings;
  const references = images.flatMap((image) => referencesOf(image, images));
  const known = { key: IMAGE, operator: 'NotIn', values: references } as const;
  return [
    stage(
      'node-ready-again',
      'Node',
      [NODE_IS_ON, NODE_IS_NOT_READY],
      { durationMilliseconds: 500 },
      { statusTemplate: NODE_READY },
    ),
    ...images.map((image, index) =>
      stage(
        `image-${index}-pulled`,
        'Pod',
        [PRE_PULL, LIVES, PENDING, { key: IMAGE, operator: 'In', values: referencesOf(image, images) }],
        { durationMilliseconds: pullMs },
        { statusTemplate: pulled(image) },
      ),
    ),
    ...(['ErrImagePull', 'ImagePullBackOff'] as const).map((reason, index) =>
      stage(
        `image-unknown-${index}`,
        'Pod',
        [PRE_PULL, LIVES, PENDING, known, waitsFor(index === 0 ? undefined : 'ErrImagePull')],
        { durationMilliseconds: pullMs },
        { statusTemplate: notPulled(reason) },
      ),
    ),
    stage(
      'pod-start',
      'Pod',
      [ORDINARY, LIVES, PENDING],
      { durationMilliseconds: podStartMs },
      { statusTemplate: STARTED },
    ),
    stage(
      'pod-restart',
      'Pod',
      [ORDINARY, LIVES, RUNNING, { key: WAITING_REASON, operator: 'Exists' }],
      { durationMilliseconds: podStartMs },
      { statusTemplate: STARTED },
    ),
    stage(
      'pod-stop',
      'Pod',
      [STOPS, ...NOT_RUN_FOR_REAL, stopsLate('DoesNotExist')],
      { durationMilliseconds: podStopMs },
      { delete: true },
    ),
    stage(
      'pod-stop-late',
      'Pod',
      [STOPS, ...NOT_RUN_FOR_REAL, stopsLate('Exists')],
      // The API server sets it to the moment at which the grace period ends.
      { durationFrom: { expressionFrom: '.metadata.deletionTimestamp' } },
      { delete: true },
    ),
  ];
}

function stage(
  name: string,
  kind: 'Node' | 'Pod',
  matchExpressions: MatchExpression[],
  delay: Delay,
  next: Next,
): object {
  return {
    apiVersion: 'kwok.x-k8s.io/v1alpha1',
    kind: 'Stage',
    metadata: { name },
    spec: { resourceRef: { apiGroup: 'v1', kind }, selector: { matchExpressions }, delay, next },
  };
}

const NODE_IS_ON: MatchExpression = { key: `.metadata.labels["${POWER_LABEL}"]`, operator: 'In', values: ['on'] };
const NODE_IS_NOT_READY: MatchExpression = {
  key: '.status.conditions.[] | select( .type == "Ready" ) | .status',
  operator: 'NotIn',
  values: ['True'],
};

/** Where a lease came too late on a busy machine: kubelet, too, takes its word back. */
const NODE_READY = `
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
`;

const STOPS: MatchExpression = { key: '.metadata.deletionTimestamp', operator: 'Exists' };
const NOT_RUN_FOR_REAL: MatchExpression[] = [
  { key: `${STEP} // "pre-pull"`, operator: 'In', values: ['pre-pull'] },
  { key: '.metadata.finalizers', operator: 'DoesNotExist' },
];

function stopsLate(operator: 'Exists' | 'DoesNotExist'): MatchExpression {
  return { key: `.metadata.annotations["${STOPS_LATE_ANNOTATION}"]`, operator };
}

function waitsFor(reason: string | undefined): MatchExpression {
  if (reason === undefined) return { key: WAITING_REASON, operator: 'DoesNotExist' };
  return { key: WAITING_REASON, operator: 'In', values: [reason] };
}

/** An image whose tag has moved to a later one is known by its digest only. */
function referencesOf({ reference, digest, imageID }: RegisteredImage, all: readonly RegisteredImage[]): string[] {
  const repository = reference.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
  const tagged = all.findLast((other) => other.reference === reference)?.digest === digest;
  return [...new Set([...(tagged ? [reference] : []), `${repository}@${digest}`, imageID])];
}

/**
 * Two containers of a pre-pull pod copy a file of the image to their termination log; a third one, where it is there,
 * looks for the signed files of trusted boot.
 */
function pulled(image: RegisteredImage): string {
  if (image.startError !== undefined) return notStarted(image, image.startError);
  const message = (file: 'kairos-release' | 'os-release'): string => literal(image.files[file] ?? '');
  const exitCode = (file: 'kairos-release' | 'os-release'): number => (image.files[file] === undefined ? 1 : 0);
  const complete = exitCode('kairos-release') === 0 && exitCode('os-release') === 0;
  return `
{{ $now := Now }}
${conditions('False', 'PodCompleted')}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ${literal(image.imageID)}
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
      {{ if eq .name "kairos-release" }}
      exitCode: ${exitCode('kairos-release')}
      reason: ${exitCode('kairos-release') === 0 ? 'Completed' : 'Error'}
      message: ${message('kairos-release')}
      {{ else if eq .name "trusted-boot" }}
      exitCode: ${image.isSigned ? 0 : 1}
      reason: ${image.isSigned ? 'Completed' : 'Error'}
      {{ else }}
      exitCode: ${exitCode('os-release')}
      reason: ${exitCode('os-release') === 0 ? 'Completed' : 'Error'}
      message: ${message('os-release')}
      {{ end }}
{{ end }}
startTime: {{ $now | Quote }}
phase: ${complete ? `{{ if gt (len .spec.containers) 2 }}${image.isSigned ? 'Succeeded' : 'Failed'}{{ else }}Succeeded{{ end }}` : 'Failed'}
`;
}

/** As containerd tells it: the container was made, and its program could not be started. */
function notStarted({ imageID }: RegisteredImage, error: string): string {
  return `
{{ $now := Now }}
${conditions('False', 'PodFailed')}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ${literal(imageID)}
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      startedAt: "1970-01-01T00:00:00Z"
      finishedAt: {{ $now | Quote }}
      exitCode: 128
      reason: StartError
      message: ${literal(`failed to create containerd task: failed to create shim task: OCI runtime create failed: ${error}: unknown`)}
{{ end }}
startTime: {{ $now | Quote }}
phase: Failed
`;
}

function notPulled(reason: 'ErrImagePull' | 'ImagePullBackOff'): string {
  const message = reason === 'ErrImagePull' ? 'failed to resolve reference: not found' : 'Back-off pulling image';
  return `
{{ $now := Now }}
${conditions('False', 'ContainersNotReady')}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: 0
  state:
    waiting:
      reason: ${reason}
      message: {{ printf "${message}: %s" .image | Quote }}
{{ end }}
startTime: {{ $now | Quote }}
phase: Pending
`;
}

/** A first start, and a restart: kubelet.ts has then counted it and put the end of the last run into the status. */
const STARTED = `
{{ $now := Now }}
{{ $status := .status }}
${conditions('True', '')}
{{ if .spec.initContainers }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: {{ .image | Quote }}
  ready: true
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
{{ end }}
containerStatuses:
{{ range $index, $container := .spec.containers }}
- name: {{ $container.name | Quote }}
  image: {{ $container.image | Quote }}
  imageID: {{ $container.image | Quote }}
  ready: true
  started: true
  {{ if $status.containerStatuses }}
  {{ $before := index $status.containerStatuses $index }}
  restartCount: {{ $before.restartCount }}
  {{ with $before.lastState }}
  lastState:
{{ YAML . 2 }}
  {{ end }}
  {{ else }}
  restartCount: 0
  {{ end }}
  state:
    running:
      startedAt: {{ $now | Quote }}
{{ end }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) | Quote }}
startTime: {{ or $status.startTime $now | Quote }}
phase: Running
`;

function conditions(ready: 'True' | 'False', reason: string): string {
  const types = [
    ['Initialized', 'True', ''],
    ['ContainersReady', ready, reason],
    ['Ready', ready, reason],
  ] as const;
  const items = types.map(
    ([type, status, why]) =>
      `- type: ${type}\n  status: "${status}"\n  reason: "${why}"\n  message: ""\n  lastTransitionTime: {{ $now | Quote }}`,
  );
  return ['conditions:', ...items].join('\n');
}

/** A YAML string that holds nothing which the template language would take for its own. */
function literal(text: string): string {
  return JSON.stringify(text.replaceAll('{{', '{ {'));
}
