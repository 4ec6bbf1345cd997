import type { Step } from '../../api/types.ts';
import type { Event } from './events.ts';
import type { Outcome } from './outcome.ts';

const UPGRADED = 'Succeeded, in service, new|old';
const UNTOUCHED = 'untouched, in service, old|old';
const GIVEN_BACK = 'Cancelled, in service, old|old';

type Column = Partial<Record<Step, Outcome>>;

const all = (outcome: Outcome): Column => ({
  PrePull: outcome,
  Gate: outcome,
  Mark: outcome,
  Cordon: outcome,
  Drain: outcome,
  Upgrade: outcome,
  Reboot: outcome,
  Verify: outcome,
  Soak: outcome,
  Uncordon: outcome,
  Recovery: outcome,
});

/** Who is taken out of an upgrade goes back before the point of no return, and to its verdict from there on. */
const takenOut = (before: Outcome): Column => ({
  ...all(UPGRADED),
  PrePull: UNTOUCHED,
  Gate: UNTOUCHED,
  Mark: before,
  Cordon: before,
  Drain: before,
});

/** A node that is gone, or another one of its name, which nobody touches. */
const gone = (now: 'gone, -|-' | 'another one in service, old|old'): Column => ({
  ...all(`Lost, ${now}`),
  PrePull: `untouched, ${now}`,
  Gate: `untouched, ${now}`,
  Mark: `untouched, ${now}`,
  Cordon: `untouched, ${now}`,
  Drain: `untouched, ${now}`,
  // All but this was done.
  Uncordon: `Succeeded, ${now}`,
});

/** How a node must end: what befell its upgrade, and at which step. */
export const EXPECTED: Record<Event, Column> = {
  success: all(UPGRADED),
  'its own failure': {
    PrePull: 'Failed, in service, old|old',
    Gate: 'Skipped, cordoned by a person, old|old',
    Mark: UPGRADED,
    Cordon: 'Failed, in service, old|old',
    Drain: 'Failed, in service, old|old',
    Upgrade: 'UpgradeFailed, held:UpgradeFailed, old|old',
    Reboot: 'NeverRebooted, held:NeverRebooted, new|old',
    Verify: 'RolledBack, in service, new|old',
    Soak: 'Lost, held:Lost, new|old',
    Uncordon: UPGRADED,
    Recovery: 'UpgradeFailed, in service, new|old',
  },
  'worker killed': all(UPGRADED),
  'API server away': all(UPGRADED),
  cancel: takenOut(GIVEN_BACK),
  'resource deleted': takenOut(GIVEN_BACK),
  'node deleted': gone('gone, -|-'),
  'node replaced': gone('another one in service, old|old'),
  'rollout terminated': takenOut(GIVEN_BACK),
  'all terminated': takenOut(UNTOUCHED),
};
