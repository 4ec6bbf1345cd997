import { describe, expect, it } from '@jest/globals';
import { STEP_LABEL } from '../../api/names.ts';
import { type DrainPod, decideDrain } from '../../policy/drain.ts';

const POD: DrainPod = {
  namespace: 'shop',
  name: 'web-0',
  labels: { app: 'web' },
  phase: 'Running',
  deleting: false,
  mirror: false,
  ownerKind: 'ReplicaSet',
  hasEmptyDir: false,
};
const { ownerKind: _owner, ...BARE } = POD;
const decide = (pod: DrainPod, deleteEmptyDirData = true) =>
  decideDrain(pod, { deleteEmptyDirData, stepLabel: STEP_LABEL });

describe('a drain', () => {
  it.each<[string, DrainPod]>([
    ['a pod of a ReplicaSet', POD],
    ['a pod of a Job that still runs', { ...POD, ownerKind: 'Job' }],
    ['a pod that does not start', { ...POD, phase: 'Pending' }],
    ['a pod whose node is not heard of', { ...POD, phase: 'Unknown' }],
    ['a pod with an emptyDir, by default', { ...POD, hasEmptyDir: true }],
    ['a pod that is being deleted: it is waited for', { ...POD, deleting: true }],
    ['a bare pod that somebody deleted already', { ...BARE, deleting: true }],
    ['a pod of another project with a part-of label', { ...POD, labels: { 'app.kubernetes.io/part-of': 'shop' } }],
  ])('evicts %s', (_, pod) => {
    expect(decide(pod)).toEqual({ action: 'evict' });
  });

  it.each<[string, DrainPod]>([
    ['a pod of a DaemonSet', { ...POD, ownerKind: 'DaemonSet' }],
    ['a mirror pod, which only kubelet can end', { ...POD, ownerKind: 'Node', mirror: true }],
    ['a pod that succeeded, with nobody to make it again', { ...BARE, phase: 'Succeeded' }],
    ['a pod that failed', { ...POD, phase: 'Failed' }],
    ['the pod that writes the image', { ...POD, ownerKind: 'Job', labels: { [STEP_LABEL]: 'upgrade' } }],
    ['the pod that pulled the image, which nothing owns', { ...BARE, labels: { [STEP_LABEL]: 'pre-pull' } }],
    ['the operator itself', { ...POD, labels: { 'app.kubernetes.io/part-of': 'kairos-operator' } }],
    ['a Temporal that its own chart installed', { ...POD, labels: { 'kairos.io/part-of': 'kairos-operator' } }],
    ['a DaemonSet with data in an emptyDir', { ...POD, ownerKind: 'DaemonSet', hasEmptyDir: true }],
  ])('leaves %s', (_, pod) => {
    expect(decide(pod, false)).toEqual({ action: 'leave' });
  });

  it('refuses a pod that nobody would make again, and names it', () => {
    expect(decide(BARE)).toEqual({
      action: 'refuse',
      reason: expect.stringMatching(/pod shop\/web-0 has no controller/),
    });
  });

  it('refuses a pod with data in an emptyDir where that may not be lost, and names the way out', () => {
    expect(decide({ ...POD, hasEmptyDir: true }, false)).toEqual({
      action: 'refuse',
      reason: expect.stringMatching(/pod shop\/web-0 .*strategy\.drain\.deleteEmptyDirData/),
    });
  });

  it('does not refuse for data that is being deleted already', () => {
    expect(decide({ ...POD, hasEmptyDir: true, deleting: true }, false)).toEqual({ action: 'evict' });
  });
});
