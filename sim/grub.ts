/**
 * Which slot a Kairos machine boots: GRUB's menu as Kairos configures it (kairos-init, cloudconfigs/08_grub.yaml).
 * Pure: the environment files go in and come out.
 */

export const SLOTS = ['active', 'passive', 'recovery'] as const;
/** In the order of GRUB's `fallback="0 1 2"`. */
export type Slot = (typeof SLOTS)[number];

type Environment = Readonly<Record<string, string>>;

export interface GrubState {
  /** `grubenv`: `next_entry`, which is used once. */
  readonly grubenv: Environment;
  /** `boot_assessment`: `enable_boot_assessment`, `boot_assessment_tentative`. */
  readonly assessment: Environment;
}

export interface Pass {
  /** What GRUB started; undefined when it could load nothing. */
  readonly slot: Slot | undefined;
  readonly upgradeFailure: boolean;
  /** The environment files as GRUB leaves them. */
  readonly state: GrubState;
}

const ENTRIES: Readonly<Record<string, Slot>> = { cos: 'active', fallback: 'passive', recovery: 'recovery' };
/**
 * One way through GRUB. The assessment: the first boot after an upgrade writes `boot_assessment_tentative=yes`; when
 * GRUB comes by again and it still says so, the new image has failed, and passive is started with `upgrade_failure` on
 * the kernel's command line. A slot that GRUB cannot load at all is passed over without a word. A boot that `next_entry` chose is not assessed, which costs a bad image one more try.
 */
export function throughGrub(state: GrubState, loadable: ReadonlySet<Slot>): Pass {
  const { next_entry: nextEntry = '', ...grubenv } = state.grubenv;
  const assessed = nextEntry === '' && state.assessment['enable_boot_assessment'] === 'yes';
  const failed = assessed && state.assessment['boot_assessment_tentative'] === 'yes';
  const wanted = failed ? 'passive' : (ENTRIES[nextEntry] ?? 'active');
  const slot = [wanted, ...SLOTS].find((candidate) => loadable.has(candidate));
  return {
    slot,
    // Part of the entry's command line, whichever entry is then started in its place.
    upgradeFailure: failed,
    state: {
      grubenv,
      assessment: assessed && !failed ? { ...state.assessment, boot_assessment_tentative: 'yes' } : state.assessment,
    },
  };
}

/** The stage `boot.before` ends the assessment, on active only: a machine that fell back stays on passive. */
export function reachedUserspace(slot: Slot, state: GrubState): GrubState {
  if (slot !== 'active') return state;
  const { enable_boot_assessment: _enabled, boot_assessment_tentative: _tentative, ...assessment } = state.assessment;
  return { ...state, assessment };
}

const LABELS = { active: 'COS_ACTIVE', passive: 'COS_PASSIVE', recovery: 'COS_RECOVERY' } as const;

/** `/proc/cmdline` of that boot. */
export function commandLine(slot: Slot, upgradeFailure: boolean): string {
  const words = [
    'BOOT_IMAGE=(loop0)/boot/vmlinuz',
    'console=tty1',
    `root=LABEL=${LABELS[slot]}`,
    `cos-img/filename=/cOS/${slot}.img`,
    'panic=5',
    'rd.cos.oemlabel=COS_OEM',
    'systemd.crash_reboot=yes',
    ...(slot === 'recovery' ? ['recovery-mode'] : []),
    ...(upgradeFailure ? ['upgrade_failure'] : []),
  ];
  return words.join(' ');
}

/** Of a file of `KEY=VALUE` lines; a real one is padded with `#`. */
export function parseEnvironment(text: string): Record<string, string> {
  const pairs = text
    .split('\n')
    .filter((line) => !line.startsWith('#') && line.includes('='))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
  return Object.fromEntries(pairs);
}

export function formatEnvironment(environment: Environment): string {
  const lines = Object.entries(environment).map(([key, value]) => `${key}=${value}\n`);
  return ['# GRUB Environment Block\n', ...lines].join('');
}
