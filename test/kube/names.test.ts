import { describe, expect, it } from '@jest/globals';
import { array, assert, property, string } from 'fast-check';
import type { KubeClient } from '../../kube/client.ts';
import { readClusterIdentity } from '../../kube/identity.ts';
import { driftRolloutId, labelValue, objectName, rolloutId } from '../../kube/names.ts';

describe('names', () => {
  it('are valid, short and the same for the same parts', () => {
    assert(
      property(string(), array(string()), (node, parts) => {
        const name = objectName('kairos-upgrade', node, ...parts);
        expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
        expect(name).toBe(objectName('kairos-upgrade', node, ...parts));
      }),
    );
  });

  it('tell parts apart', () => {
    expect(objectName('p', 'n', 'ab', 'c')).not.toBe(objectName('p', 'n', 'a', 'bc'));
    expect(objectName('kairos-upgrade', 'worker-1.example.com')).toMatch(
      /^kairos-upgrade-worker-1-example-com-[0-9a-f]{16}$/,
    );
    expect(() => objectName('a-prefix-that-is-far-too-long', 'n')).toThrow('shorten it');
  });

  it('keep short label values and hash long ones', () => {
    expect(labelValue('worker-1')).toBe('worker-1');
    const long = labelValue('a.'.repeat(60));
    expect(long).toMatch(/^[A-Za-z0-9][A-Za-z0-9.-]{0,61}[A-Za-z0-9]$/);
    expect(long).not.toBe(labelValue('a.'.repeat(61)));
  });

  it('make workflow ids', () => {
    expect(rolloutId('edge-0123abcd', 'default', 'v4')).toBe('rollout/edge-0123abcd/default/v4');
    const long = rolloutId('c', 'ns', 'x'.repeat(200));
    expect(long).toHaveLength('rollout/c/ns/'.length + 120);
    expect(driftRolloutId('c', 'image:1')).toMatch(/^rollout\/c\/_drift\/[0-9a-f]{16}$/);
  });

  it('tell two clusters of one name apart by the UID of kube-system', async () => {
    const metadata = { uid: '0123abcd-ef00-4000-8000-000000000000' };
    const client = { request: () => Promise.resolve({ metadata }) } as unknown as KubeClient;
    expect(await readClusterIdentity(client, 'my edge/cluster with a long name')).toEqual({
      uid: metadata.uid,
      id: 'my-edge-cluster-with-a-l-0123abcd',
    });
    expect((await readClusterIdentity(client, '')).id).toBe('cluster-0123abcd');
  });
});
