import { describe, expect, it } from '@jest/globals';
import { reconcileUpgrade } from '../../watcher/upgrades.ts';
import { watcher } from './table-rig.ts';

const NOTHING_NEXT = { again: () => undefined, ask: () => undefined };

const resource = {
  metadata: { namespace: 'fleet', name: 'v4', uid: 'u', generation: 1 },
  spec: { image: 'kairos:v4' },
};

describe('while the operator is being uninstalled, the watcher', () => {
  const uninstalling = { uninstall: { now: () => Promise.resolve('uninstall-0') } };

  it('starts no rollout, says why, and tries again', async () => {
    const { context, done } = watcher({ state: 'NotFound' }, () => resource);
    const look = reconcileUpgrade({ ...context, ...uninstalling }, 'fleet/v4', NOTHING_NEXT);
    await expect(look).rejects.toThrow(
      'the operator is being uninstalled (uninstall-0 holds the Lease kairos-system/kairos-uninstall): not started',
    );
    expect(done).toEqual([]);
  });

  it('starts none where it cannot know', async () => {
    const { context, done } = watcher({ state: 'NotFound' }, () => resource);
    const unknown = { uninstall: { now: () => Promise.reject(new Error('away')) } };
    const look = reconcileUpgrade({ ...context, ...unknown }, 'fleet/v4', NOTHING_NEXT);
    await expect(look).rejects.toThrow('away');
    expect(done).toEqual([]);
  });

  it('cancels what is to be cancelled', async () => {
    const memo = { uid: 'another', generation: 1, attempt: 1 };
    const { context, done } = watcher({ state: 'Open', memo }, () => resource);
    await reconcileUpgrade({ ...context, ...uninstalling }, 'fleet/v4', NOTHING_NEXT);
    expect(done).toContain('cancel');
  });
});
