import { describe, expect, it } from '@jest/globals';
import type { ClusterView } from '../../activities/cluster-view.ts';
import { createPodToFinish, goesWithItsNamespace, podToFinish } from '../../activities/served-namespace.ts';
import { KubeError } from '../../kube/errors.ts';

const POD = { metadata: { name: 'kairos-reboot-n-1', namespace: 'fleet' }, spec: {} };
const refusal = (reason: 'Forbidden' | 'NotFound' | 'Invalid') =>
  new KubeError(`create pods: ${reason}`, { verb: 'create', path: '/', code: 403, reason, retryable: false });

/** A cluster that serves `kairos-system` and `fleet`, and refuses to create anything in the namespace `gone`. */
function cluster(gone: string | undefined, reason: 'Forbidden' | 'NotFound' | 'Invalid' = 'Forbidden') {
  const created: string[] = [];
  const request = ({ path, body }: { path: string; body: typeof POD }) => {
    const namespace = path.split('/')[4] ?? '';
    if (namespace === gone) return Promise.reject(refusal(reason));
    created.push(`${namespace}/${body.metadata.name}, which says ${body.metadata.namespace}`);
    return Promise.resolve({ ...body, metadata: { ...body.metadata, uid: 'u' } });
  };
  const pods = new Map<string, object>();
  const view = { client: { request }, namespaces: ['kairos-system', 'fleet'], pods } as unknown as ClusterView;
  return { view, created, pods };
}

describe('a pod that finishes a node', () => {
  it('is made in the namespace of its NodeOpUpgrade', async () => {
    const { view, created } = cluster(undefined);
    expect((await createPodToFinish(view, POD)).namespace).toBe('fleet');
    expect(created).toEqual(['fleet/kairos-reboot-n-1, which says fleet']);
  });

  it.each(['Forbidden', 'NotFound'] as const)('is made in the own one where that answers %s', async (reason) => {
    const { view, created } = cluster('fleet', reason);
    expect((await createPodToFinish(view, POD)).namespace).toBe('kairos-system');
    expect(created).toEqual(['kairos-system/kairos-reboot-n-1, which says kairos-system']);
  });

  it('is not made elsewhere when it is invalid, or when the own namespace refuses it', async () => {
    await expect(createPodToFinish(cluster('fleet', 'Invalid').view, POD)).rejects.toThrow('Invalid');
    const own = { ...POD, metadata: { ...POD.metadata, namespace: 'kairos-system' } };
    await expect(createPodToFinish(cluster('kairos-system').view, own)).rejects.toThrow('Forbidden');
  });

  it('is found in either', () => {
    const { view, pods } = cluster(undefined);
    expect(podToFinish(view, POD)).toBeUndefined();
    pods.set('kairos-system/kairos-reboot-n-1', { uid: 'u' });
    expect(podToFinish(view, POD)).toEqual({ uid: 'u' });
  });
});

it.each([
  ['fleet', 'Forbidden', true],
  ['fleet', 'Invalid', false],
  ['kairos-system', 'Forbidden', false],
] as const)('what is in %s and answers %s goes with its namespace: %s', (namespace, reason, goes) => {
  expect(goesWithItsNamespace(cluster(undefined).view, namespace, refusal(reason))).toBe(goes);
});
