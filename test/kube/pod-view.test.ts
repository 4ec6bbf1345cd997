import { describe, expect, it } from '@jest/globals';
import { podView } from '../../kube/pod-view.ts';

const pod = (state: object, more: object = {}, spec: object = {}) => ({
  metadata: {
    name: 'p',
    namespace: 'ns',
    uid: 'u',
    resourceVersion: '1',
    annotations: { 'kairos.io/boot-id': 'b', 'other/key': 'secret', 'kubernetes.io/config.mirror': 'x' },
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'd', uid: 'du', controller: true }],
  },
  spec: { nodeName: 'n', containers: [{ name: 'c', image: 'i' }], ...spec },
  status: { phase: 'Running', containerStatuses: [{ name: 'c', state, ...more }] },
});

describe('a pod', () => {
  it('keeps what is needed of it', () => {
    const volumes = [
      { name: 'e', emptyDir: {} },
      { name: 'v', persistentVolumeClaim: { claimName: 'data' } },
      { name: 'scratch', ephemeral: {} },
    ];
    expect(podView(pod({ running: {} }, { imageID: 'sha256:1' }, { volumes }))).toMatchObject({
      nodeName: 'n',
      annotations: { 'kairos.io/boot-id': 'b' },
      owner: { kind: 'DaemonSet', name: 'd', uid: 'du' },
      ownerKind: 'DaemonSet',
      mirror: true,
      hasEmptyDir: true,
      volumesClaims: ['data', 'p-scratch'],
      containers: [{ name: 'c', image: 'i', imageID: 'sha256:1', running: true, started: true, restarts: 0 }],
    });
  });

  it.each([
    ['waits', { waiting: { reason: 'ErrImagePull', message: 'no such image' } }, {}, false],
    ['runs', { running: {} }, {}, true],
    ['ended', { terminated: { exitCode: 0, reason: 'Completed' } }, {}, true],
    ['could not be started at all', { terminated: { exitCode: 128, reason: 'StartError' } }, {}, false],
    ['ended in an unknown way', { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } }, {}, true],
    ['waits for its restart', { waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 1 }, true],
  ])('whose container %s', (_, state, more, started) => {
    expect(podView(pod(state, more)).containers[0]?.started).toBe(started);
  });

  it('keeps how a container ended before, and the init containers that hold it up', () => {
    const failed = { terminated: { exitCode: 3, reason: 'Error', message: 'no' } };
    const view = podView({
      ...pod({ waiting: { reason: 'PodInitializing' } }),
      spec: { nodeName: 'n', containers: [{ name: 'c', image: 'i' }], initContainers: [{ name: 'a' }, { name: 'b' }] },
      status: {
        phase: 'Pending',
        containerStatuses: [{ name: 'c', state: { waiting: { reason: 'PodInitializing' } }, lastState: failed }],
        initContainerStatuses: [
          { name: 'a', state: { terminated: { exitCode: 0 } } },
          { name: 'sidecar', state: { running: {} } },
          { name: 'b', state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: failed, restartCount: 2 },
        ],
      },
    });
    expect(view.containers).toMatchObject([{ name: 'c', lastEnd: { exitCode: 3, reason: 'Error', message: 'no' } }]);
    expect(view.initContainers).toMatchObject([{ name: 'b', restarts: 2, lastEnd: { exitCode: 3 } }]);
    expect(podView(pod({ running: {} }))).not.toHaveProperty('initContainers');
  });

  it('without any status has containers that have not started', () => {
    const { status: _, ...fresh } = pod({});
    expect(podView(fresh)).toMatchObject({ phase: 'Pending', containers: [{ name: 'c', started: false }] });
  });
});
