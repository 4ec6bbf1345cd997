import { describe, expect, it } from '@jest/globals';
import { specOf } from '../../watcher/spec.ts';

describe('what a rollout is started with', () => {
  it('is what is asked for, over the defaults of the installation', () => {
    const spec = specOf({ defaults: { gateTimeout: '2h' } }, { image: 'i', strategy: { soak: '1m' } });
    expect(spec).toMatchObject({ gateTimeoutMs: 7_200_000, soakMs: 60_000 });
    expect(spec).not.toHaveProperty('refused');
  });

  it('says what does not go together, though each was right by itself', () => {
    const defaults = { drain: { onTimeout: 'Delete', forceDeleteAfter: '10m' } } as const;
    const spec = specOf({ defaults }, { image: 'i', strategy: { drain: { timeout: '5m' } } });
    expect(spec.refused).toBe(
      'spec.strategy does not go with the defaults of this installation (defaults.strategy of the chart): drain: forceDeleteAfter must be shorter than timeout (default 15m): that is how long a deletion is waited for',
    );
  });
});
