import { EXPECTED } from './expected.ts';
import { STEP_NAMES, type Event } from './events.ts';
import type { Column } from './matrix.ts';

/** What a column shows, a line a step; `≠` where a node did not end as it must. */
export function columnText(event: Event, column: Column): string {
  const lines = STEP_NAMES.map((step) => {
    const outcome = column[step]?.outcome ?? 'nothing';
    const expected = EXPECTED[event][step];
    const wrong = outcome === expected ? '' : `   ≠ ${expected ?? 'nothing is expected'}`;
    return `  ${step.padEnd(9)} ${outcome}${wrong}`;
  });
  return `\n${event}\n${lines.join('\n')}\n`;
}
