import { describe, expect, it } from '@jest/globals';
import { ALL_EVENTS, STEP_NAMES } from '../node/events.ts';
import { EXPECTED } from '../node/expected.ts';
import { documentText, tableRows } from './documents.ts';

describe('docs/node-matrix.md', () => {
  it('says of every cell what make test-node checks', () => {
    const [rows = []] = tableRows(documentText('docs/node-matrix.md'));
    const told = rows.flatMap(([event = '', at = '', verdict, node, active, passive]) =>
      (at === 'any' ? STEP_NAMES : at.split(', ')).map(
        (step) => [`${event} at ${step}`, `${verdict}, ${node}, ${active}|${passive}`] as const,
      ),
    );
    const checked = ALL_EVENTS.flatMap((event) =>
      STEP_NAMES.map((step) => [`${event} at ${step}`, EXPECTED[event][step]] as const),
    );
    expect(told).toHaveLength(checked.length);
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(checked));
  });
});
