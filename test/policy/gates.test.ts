import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  closedBudget,
  closedNode,
  closedReport,
  gateIn,
  waitingText,
  waitsAtGate,
  type Gate,
  type GatedNode,
} from '../../policy/gates.ts';

const OPEN: GatedNode = { name: 'n-1', bootID: 'b-1', ready: true, unschedulable: false, pressures: [] };
const TIME = '2026-03-01T10:00:00Z';

describe('a node', () => {
  it.each<[string, Partial<GatedNode>, Gate | undefined, RegExp]>([
    ['that is Ready and nobody’s goes', {}, undefined, /^$/],
    [
      'that is not Ready waits',
      { ready: false, notReadySince: TIME },
      'Ready',
      /^node n-1 is not Ready since 2026-03-01T/,
    ],
    ['that carries a mark waits', { owner: 'node/c/u' }, 'Owner', /is out already: rollout\/c\/ns\/a has it in hand/],
    ['that is held waits, by its mark', { owner: 'held:Lost' }, 'Owner', /is out already: held:Lost/],
    [
      'that somebody cordoned waits',
      { unschedulable: true, cordonedSince: TIME },
      'Cordon',
      /by somebody else since 2026-03-01T10:00:00Z: kubectl uncordon n-1/,
    ],
    [
      'under pressure waits, and names each',
      { pressures: ['DiskPressure', 'PIDPressure'], pressuresSince: { DiskPressure: TIME } },
      'Pressure',
      /has DiskPressure since 2026-03-01T10:00:00Z, PIDPressure: /,
    ],
  ])('%s', (_, change, gate, words) => {
    const closed = closedNode({ ...OPEN, ...change }, false, 'rollout/c/ns/a');
    expect(closed?.gate).toBe(gate);
    expect(closed?.reason ?? '').toMatch(words);
  });

  it('whose mark gives way is let through with its cordon, but not under pressure', () => {
    const held = { ...OPEN, owner: 'held:Failed', unschedulable: true };
    expect(closedNode(held, true)).toBeUndefined();
    expect(closedNode({ ...held, pressures: ['MemoryPressure'] }, true)?.gate).toBe('Pressure');
    expect(closedNode({ ...held, ready: false }, true)?.gate).toBe('Ready');
  });

  it('waits for a report from its present boot', () => {
    expect(closedReport(OPEN, { bootID: 'b-1' })).toBeUndefined();
    expect(closedReport(OPEN, undefined)?.reason).toMatch(
      /^node n-1: its agent has not reported from this boot: kubectl/,
    );
    expect(closedReport(OPEN, { bootID: 'b-0', reportedAt: TIME })?.reason).toMatch(
      /its last report is of 2026-03-01T/,
    );
  });

  it('says which gate it waits at, and that is read again', () => {
    const gates: Gate[] = ['Ready', 'Owner', 'Cordon', 'Pressure', 'Report', 'Image', 'Lease', 'Budget'];
    fc.assert(
      fc.property(fc.constantFrom(...gates), fc.string(), (gate, reason) => {
        expect(gateIn(waitingText({ gate, reason }))).toBe(gate);
      }),
    );
    expect(gateIn('Succeeded: runs v4')).toBeUndefined();
  });

  it('waits at a gate only in nobody’s hand', () => {
    expect(waitsAtGate({ step: 'Gate' })).toBe(true);
    expect(waitsAtGate({ step: 'Gate', upgradeState: 'InProgress' })).toBe(false);
    expect(waitsAtGate({ step: 'Drain' })).toBe(false);
  });
});

it('a budget names five of those that take it', () => {
  expect(closedBudget(['a', 'b', 'c', 'd', 'e', 'f', 'g']).reason).toBe(
    'budget taken: out are a, b, c, d, e and 2 more',
  );
});
