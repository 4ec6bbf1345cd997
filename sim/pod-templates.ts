import type { RegisteredImage } from './images.ts';

/**
 * Two containers of a pre-pull pod copy a file of the image to their termination log; a third one, where it is there,
 * looks for the signed files of trusted boot.
 */
export function pulled(image: RegisteredImage): string {
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

export function notPulled(reason: 'ErrImagePull' | 'ImagePullBackOff'): string {
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
export const STARTED = `
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

/** It has run, ended with 1 and said its last words, and is not started again yet. */
export function crashed(annotation: string): string {
  return `
{{ $now := Now }}
{{ $status := .status }}
{{ $words := index .metadata.annotations "${annotation}" }}
${conditions('False', 'ContainersNotReady')}
containerStatuses:
{{ range $index, $container := .spec.containers }}
- name: {{ $container.name | Quote }}
  image: {{ $container.image | Quote }}
  imageID: {{ $container.image | Quote }}
  ready: false
  started: false
  {{ if $status.containerStatuses }}
  restartCount: {{ ( index $status.containerStatuses $index ).restartCount }}
  {{ else }}
  restartCount: 1
  {{ end }}
  state:
    waiting:
      reason: CrashLoopBackOff
      message: back-off restarting failed container
  lastState:
    terminated:
      exitCode: 1
      reason: Error
      message: {{ $words | Quote }}
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
startTime: {{ or $status.startTime $now | Quote }}
phase: Running
`;
}

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
