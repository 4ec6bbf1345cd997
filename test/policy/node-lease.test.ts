import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { holderText, isHeld, renewalIsDue, type NodeLease } from '../../policy/node-lease.ts';

const NOW = Date.parse('2026-03-01T10:00:00Z');
const at = (seconds: number) => new Date(NOW + seconds * 1000).toISOString().replace('Z', '000Z');
const lease = (change: Partial<NodeLease> = {}): NodeLease => ({
  holder: 'node-maintenance',
  acquireTime: at(-900),
  renewTime: at(-60),
  durationSeconds: 600,
  seenAtMs: NOW - 50_000,
  live: false,
  ...change,
});
const { renewTime: _renew, ...neverRenewed } = lease();
const { durationSeconds: _duration, ...endless } = lease();

describe('a Lease on a node', () => {
  it.each<[string, NodeLease | undefined, boolean]>([
    ['that is not there is nobody’s', undefined, false],
    ['that is renewed is held', lease(), true],
    ['is held up to its last second', lease({ renewTime: at(-600) }), true],
    ['is nobody’s after it', lease({ renewTime: at(-601) }), false],
    ['without holder is nobody’s', lease({ holder: '' }), false],
    ['that was never renewed is nobody’s', neverRenewed, false],
    ['without duration is nobody’s', endless, false],
    ['with a time that is none is nobody’s', lease({ renewTime: 'soon' }), false],
    [
      'that was seen to be renewed is held, though its clock is behind',
      lease({ renewTime: at(-7200), live: true }),
      true,
    ],
    [
      'whose clock is behind is nobody’s when nothing was seen of it for its duration',
      lease({ renewTime: at(-7200), live: true, seenAtMs: NOW - 601_000 }),
      false,
    ],
    ['from the future is held from when it was first seen', lease({ renewTime: at(3600) }), true],
    ['from the future is nobody’s after its duration', lease({ renewTime: at(3600), seenAtMs: NOW - 601_000 }), false],
  ])('%s', (_, given, held) => {
    expect(isHeld(given, NOW)).toBe(held);
  });

  it('is never held longer than its duration after anything was last seen or said of it', () => {
    const seconds = fc.integer({ min: -10_000, max: 10_000 });
    fc.assert(
      fc.property(
        seconds,
        fc.integer({ min: 1, max: 5000 }),
        fc.nat(10_000),
        fc.boolean(),
        (renewed, duration, ago, live) => {
          const given = lease({ renewTime: at(renewed), durationSeconds: duration, seenAtMs: NOW - ago * 1000, live });
          const last = Math.max(renewed > 0 ? -ago : renewed, -ago);
          if (isHeld(given, NOW)) expect(-last).toBeLessThanOrEqual(duration);
        },
      ),
    );
  });

  it('is renewed when a third of its time is over, and when its time says nothing', () => {
    expect(renewalIsDue(lease({ renewTime: at(-199) }), NOW)).toBe(false);
    expect(renewalIsDue(lease({ renewTime: at(-200) }), NOW)).toBe(true);
    expect(renewalIsDue(lease({ renewTime: at(60) }), NOW)).toBe(true);
    expect(renewalIsDue(neverRenewed, NOW)).toBe(true);
  });

  it('names its holder, since when, and where to look', () => {
    expect(holderText('n-1', lease(), 'medik8s-leases', 'node-n-1')).toBe(
      `node n-1 is in the hand of node-maintenance since ${at(-900)}, by its Lease (renewed at ${at(-60)}, good for 600 s): kubectl get lease -n medik8s-leases node-n-1`,
    );
  });
});
