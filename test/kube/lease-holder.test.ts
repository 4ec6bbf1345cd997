import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { KubeClient, KubeRequest } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { LeaseHolder } from '../../kube/lease-holder.ts';

interface Spec {
  holderIdentity?: string | null;
  renewTime?: string;
  leaseDurationSeconds?: number;
}

describe('the holder of a Lease', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  let spec: Spec | undefined;
  const request = ({ verb, path }: KubeRequest) =>
    spec === undefined
      ? Promise.reject(new KubeError('none', { verb, path, code: 404, reason: 'NotFound', retryable: false }))
      : Promise.resolve({ metadata: { uid: 'u' }, spec });
  const holder = () => new LeaseHolder({ request } as unknown as KubeClient, 'kairos-system', 'kairos-uninstall');
  const held = (renewTime: string): Spec => ({ holderIdentity: 'hook', renewTime, leaseDurationSeconds: 30 });

  it.each<[string, Spec | undefined]>([
    ['there is no Lease', undefined],
    ['it was given back', { holderIdentity: null, renewTime: 't', leaseDurationSeconds: 30 }],
    ['it never had one', {}],
  ])('is nobody where %s', async (_, now) => {
    spec = now;
    expect(await holder().now()).toBeUndefined();
  });

  it('is believed for as long as it renews, and for its duration after that, by our own clock', async () => {
    const lease = holder();
    spec = held('long ago by a wrong clock');
    expect(await lease.now()).toBe('hook');
    jest.advanceTimersByTime(29_000);
    expect(await lease.now()).toBe('hook');
    spec = held('later');
    expect(await lease.now()).toBe('hook');
    jest.advanceTimersByTime(29_999);
    expect(await lease.now()).toBe('hook');
    jest.advanceTimersByTime(1);
    expect(await lease.now()).toBeUndefined();
  });

  it('is not guessed where the API server does not answer', async () => {
    const away = new KubeError('away', { verb: 'get', path: '', reason: 'Unreachable', retryable: true });
    const client = { request: () => Promise.reject(away) } as unknown as KubeClient;
    await expect(new LeaseHolder(client, 'kairos-system', 'kairos-uninstall').now()).rejects.toThrow('away');
  });
});
