import { describe, expect, it } from '@jest/globals';
import {
  SLOTS,
  commandLine,
  formatEnvironment,
  parseEnvironment,
  reachedUserspace,
  throughGrub,
  type GrubState,
  type Slot,
} from '../../sim/grub.ts';

type Health = 'boots' | 'panics' | 'missing';
const EMPTY: GrubState = { grubenv: {}, assessment: {} };
const UPGRADED: GrubState = { grubenv: {}, assessment: { enable_boot_assessment: 'yes' } };
const FAILED: GrubState = {
  grubenv: {},
  assessment: { enable_boot_assessment: 'yes', boot_assessment_tentative: 'yes' },
};
const GOOD = { active: 'boots', passive: 'boots', recovery: 'boots' } as const;

/** Kernel after kernel until userspace, at most five. */
function boot(state: GrubState, slots: Record<Slot, Health>) {
  const loadable = new Set(SLOTS.filter((slot) => slots[slot] !== 'missing'));
  const kernels: (Slot | undefined)[] = [];
  let now = state;
  while (kernels.length < 5) {
    const pass = throughGrub(now, loadable);
    kernels.push(pass.slot);
    now = pass.state;
    if (pass.slot === undefined) break;
    if (slots[pass.slot] !== 'boots') continue;
    const after = reachedUserspace(pass.slot, now);
    return {
      kernels,
      runs: pass.slot,
      upgradeFailure: pass.upgradeFailure,
      assessment: after.assessment,
      grubenv: after.grubenv,
    };
  }
  return { kernels, runs: undefined, assessment: now.assessment, grubenv: now.grubenv };
}

describe('GRUB of a Kairos machine', () => {
  const cases: [string, GrubState, Record<Slot, Health>, Partial<ReturnType<typeof boot>>][] = [
    ['boots active when nothing is said', EMPTY, GOOD, { kernels: ['active'], runs: 'active', upgradeFailure: false }],
    [
      'ends the assessment of a good image in one boot',
      UPGRADED,
      GOOD,
      { kernels: ['active'], runs: 'active', assessment: {} },
    ],
    [
      'falls back to passive when the new image panics, and stays in assessment',
      UPGRADED,
      { ...GOOD, active: 'panics' },
      { kernels: ['active', 'passive'], runs: 'passive', upgradeFailure: true, assessment: FAILED.assessment },
    ],
    ['stays on passive at later boots', FAILED, GOOD, { kernels: ['passive'], runs: 'passive', upgradeFailure: true }],
    [
      'gives a bad image one more try when next_entry chose the first boot',
      { ...UPGRADED, grubenv: { next_entry: 'cos' } },
      { ...GOOD, active: 'panics' },
      { kernels: ['active', 'active', 'passive'], runs: 'passive', upgradeFailure: true, grubenv: {} },
    ],
    [
      'boots active once by next_entry even while the assessment has failed, which clears it',
      { ...FAILED, grubenv: { next_entry: 'cos' } },
      GOOD,
      { kernels: ['active'], runs: 'active', assessment: {}, upgradeFailure: false },
    ],
    [
      'uses next_entry once',
      { ...EMPTY, grubenv: { next_entry: 'fallback' } },
      GOOD,
      { runs: 'passive', upgradeFailure: false, grubenv: {} },
    ],
    ['enters recovery when told to', { ...EMPTY, grubenv: { next_entry: 'recovery' } }, GOOD, { runs: 'recovery' }],
    [
      'passes over a missing active slot',
      EMPTY,
      { ...GOOD, active: 'missing' },
      { kernels: ['passive'], runs: 'passive', upgradeFailure: false },
    ],
    [
      'enters recovery when nothing else is left',
      EMPTY,
      { ...GOOD, active: 'missing', passive: 'missing' },
      { runs: 'recovery' },
    ],
    [
      'takes active when the fallback is missing',
      FAILED,
      { ...GOOD, passive: 'missing' },
      { kernels: ['active'], runs: 'active', upgradeFailure: true },
    ],
    [
      'panics for ever without an assessment',
      EMPTY,
      { ...GOOD, active: 'panics' },
      { kernels: ['active', 'active', 'active', 'active', 'active'], runs: undefined },
    ],
    [
      'panics for ever when the fallback panics too',
      UPGRADED,
      { ...GOOD, active: 'panics', passive: 'panics' },
      { kernels: ['active', 'passive', 'passive', 'passive', 'passive'], runs: undefined },
    ],
    [
      'starts nothing from an empty disk',
      EMPTY,
      { active: 'missing', passive: 'missing', recovery: 'missing' },
      { kernels: [undefined], runs: undefined },
    ],
  ];

  it.each(cases)('%s', (_name, state, slots, expected) => {
    expect(boot(state, slots)).toMatchObject(expected);
  });

  it('says on the command line which slot runs and that the assessment failed', () => {
    expect(commandLine('active', false)).toMatch(/COS_ACTIVE .*active\.img/);
    expect(commandLine('passive', true)).toMatch(/COS_PASSIVE .*upgrade_failure$/);
    expect(commandLine('recovery', false)).toMatch(/COS_RECOVERY .*recovery-mode/);
  });

  it('reads the environment files that it writes, and those padded by GRUB', () => {
    expect(parseEnvironment(formatEnvironment({ next_entry: 'cos' }))).toEqual({ next_entry: 'cos' });
    expect(parseEnvironment('# GRUB Environment Block\nenable_boot_assessment=yes\n####')).toEqual({
      enable_boot_assessment: 'yes',
    });
  });
});
