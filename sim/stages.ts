import { STEP_LABEL } from '../api/names.ts';
import type { RegisteredImage } from './images.ts';
import { POWER_LABEL } from './node-object.ts';
import { STARTED, crashed, notPulled, pulled } from './pod-templates.ts';
import type { Timings } from './timings.ts';

/** Lets a pod take its whole grace period to stop. */
export const STOPS_LATE_ANNOTATION = 'sim.kairos.io/stops-late';

/** Their values are the last words of a pod that never works, or that does not any more after a reboot of its node. */
const NEVER_WORKS_ANNOTATION = 'sim.kairos.io/never-works';
const BREAKS_AT_REBOOT_ANNOTATION = 'sim.kairos.io/breaks-at-reboot';

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
      [ORDINARY, LIVES, PENDING, annotated(NEVER_WORKS_ANNOTATION, 'DoesNotExist')],
      { durationMilliseconds: podStartMs },
      { statusTemplate: STARTED },
    ),
    stage(
      'pod-never-works',
      'Pod',
      [ORDINARY, LIVES, PENDING, annotated(NEVER_WORKS_ANNOTATION, 'Exists')],
      { durationMilliseconds: podStartMs },
      { statusTemplate: crashed(NEVER_WORKS_ANNOTATION) },
    ),
    stage(
      'pod-breaks-at-reboot',
      'Pod',
      [
        ORDINARY,
        LIVES,
        RUNNING,
        { key: WAITING_REASON, operator: 'In', values: ['ContainerCreating'] },
        annotated(NEVER_WORKS_ANNOTATION, 'DoesNotExist'),
        annotated(BREAKS_AT_REBOOT_ANNOTATION, 'Exists'),
      ],
      { durationMilliseconds: podStartMs },
      { statusTemplate: crashed(BREAKS_AT_REBOOT_ANNOTATION) },
    ),
    stage(
      'pod-restart',
      'Pod',
      [
        ORDINARY,
        LIVES,
        RUNNING,
        { key: WAITING_REASON, operator: 'Exists' },
        annotated(NEVER_WORKS_ANNOTATION, 'DoesNotExist'),
        annotated(BREAKS_AT_REBOOT_ANNOTATION, 'DoesNotExist'),
      ],
      { durationMilliseconds: podStartMs },
      { statusTemplate: STARTED },
    ),
    stage(
      'pod-stop',
      'Pod',
      [STOPS, ...NOT_RUN_FOR_REAL, annotated(STOPS_LATE_ANNOTATION, 'DoesNotExist')],
      { durationMilliseconds: podStopMs },
      { delete: true },
    ),
    stage(
      'pod-stop-late',
      'Pod',
      [STOPS, ...NOT_RUN_FOR_REAL, annotated(STOPS_LATE_ANNOTATION, 'Exists')],
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

function annotated(annotation: string, operator: 'Exists' | 'DoesNotExist'): MatchExpression {
  return { key: `.metadata.annotations["${annotation}"]`, operator };
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
