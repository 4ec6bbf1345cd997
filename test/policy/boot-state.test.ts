import { describe, expect, it } from '@jest/globals';
import { bootStateOf } from '../../policy/boot-state.ts';

describe('the boot state of a machine with trusted boot', () => {
  it.each([
    ['passive', 'passive.conf'],
    ['active', 'active+2-1.conf'],
    ['recovery', 'statereset.conf'],
  ])('is not read from its command line: %s', (state, loaderEntry) => {
    const sentinels = ['uki_boot_mode'];
    expect(bootStateOf({ cmdline: 'note=COS_LIVE root=LABEL=COS_ACTIVE', sentinels, loaderEntry })).toBe(state);
  });
});
