import { describe, expect, it } from '@jest/globals';
import { kairosNodeOperatorStatus } from '../../api/schemas/kairos-node.ts';
import type { KairosNodeAgentStatus } from '../../api/types.ts';
import { evidenceKept } from '../../policy/evidence.ts';

const AT = Date.parse('2026-03-01T10:00:00Z');
const SEEN = { bootID: 'b2', ready: true, at: '2026-03-01T10:00:00.000Z' };
const RELEASE = { KAIROS_VERSION: 'v4.0.3' };

describe('what is kept of the evidence', () => {
  it.each<[string, KairosNodeAgentStatus | undefined, object]>([
    [
      'is the stamp of this upgrade',
      { bootID: 'b2', bootState: 'active', release: RELEASE, stamp: { sourceBootID: 'b1' } },
      { ...SEEN, by: 'agent', bootState: 'active', version: 'v4.0.3', stamp: 'matches' },
    ],
    [
      'is the stamp of another upgrade',
      { bootID: 'b2', bootState: 'active', release: RELEASE, stamp: { sourceBootID: 'b0' } },
      { ...SEEN, by: 'agent', bootState: 'active', version: 'v4.0.3', stamp: 'other' },
    ],
    [
      'is the slot of a fallback',
      { bootID: 'b2', bootState: 'passive', release: RELEASE },
      { ...SEEN, by: 'agent', bootState: 'passive', version: 'v4.0.3', stamp: 'none' },
    ],
    ['says what is unknown', { bootID: 'b2' }, { ...SEEN, by: 'agent', bootState: 'unknown', stamp: 'none' }],
    ['is nothing of another boot', { bootID: 'b1', bootState: 'active', release: RELEASE }, SEEN],
    ['is the Node alone without a report', undefined, SEEN],
  ])('%s', (_, report, kept) => {
    const node = { name: 'n', bootID: 'b2', ready: true };
    const evidence = evidenceKept({ sourceBootID: 'b1', node, ...(report && { report }) }, 'agent', AT);
    expect(evidence).toEqual(kept);
    expect(kairosNodeOperatorStatus.shape.lastAttempt.unwrap().shape.evidence.parse(evidence)).toEqual(kept);
  });

  it('of a node without a boot id names none, and who read it', () => {
    expect(evidenceKept({ sourceBootID: 'b1', node: { bootID: '', ready: false } }, 'pod', AT)).toEqual({
      ready: false,
      at: SEEN.at,
    });
  });
});
