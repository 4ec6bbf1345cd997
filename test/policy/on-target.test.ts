import { describe, expect, it } from '@jest/globals';
import type { KairosNodeAgentStatus } from '../../api/types.ts';
import { runsTarget } from '../../policy/on-target.ts';

const release = { KAIROS_VERSION: 'v4.0.3' };

describe('a node', () => {
  it.each<[KairosNodeAgentStatus | undefined, boolean]>([
    [{ release, bootState: 'active' }, true],
    [{ release, bootState: 'unknown' }, true],
    [{ release }, true],
    [{ release, bootState: 'passive' }, false],
    [{ release, bootState: 'recovery' }, false],
    [{ release: { KAIROS_VERSION: 'v4.0.2' }, bootState: 'active' }, false],
    [{ bootState: 'active' }, false],
    [undefined, false],
  ])('that reports %j runs the target: %s', (status, isOnTarget) => {
    expect(runsTarget(status, 'v4.0.3')).toBe(isOnTarget);
  });
});
