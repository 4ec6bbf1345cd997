import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { skewRefusal } from '../../policy/skew.ts';

const k3s = (minor: number) => `v1.${minor}.4+k3s1`;

describe('a worker', () => {
  it.each<[string, string[], string, string | undefined, RegExp | undefined]>([
    ['goes to what the control plane runs', [k3s(33)], k3s(32), k3s(33), undefined],
    ['never goes beyond it', [k3s(33)], k3s(33), k3s(34), /1\.34 .* newer than the control plane's 1\.33/],
    [
      'goes by its oldest member',
      [k3s(34), k3s(33), k3s(34)],
      k3s(33),
      k3s(34),
      /newer than the control plane's 1\.33/,
    ],
    ['may go back', [k3s(33)], k3s(33), k3s(30), undefined],
    [
      'may not be more than three minors behind',
      [k3s(33)],
      k3s(33),
      k3s(29),
      /too old for the control plane's 1\.33.* 1\.30/,
    ],
    ['may not be more than two behind before 1.28', [k3s(30)], k3s(28), k3s(27), /too old/],
    ['may be two behind before 1.28', [k3s(29)], k3s(27), k3s(27), undefined],
    ['is not judged by a core image', [k3s(33)], k3s(33), undefined, undefined],
    ['is not judged by a version of another form', [k3s(33)], k3s(33), 'main', undefined],
    ['is not judged where no control-plane node is visible', [], k3s(33), k3s(34), undefined],
    ['is not judged by a control-plane node that has not told its version', [''], k3s(33), k3s(34), undefined],
    ['compares numbers, not letters', ['v1.9.0'], 'v1.9.0', 'v1.10.0', /newer/],
    ['takes a version without its v', ['1.33.1'], '1.33.1', '1.34.0', /newer/],
  ])('%s', (_, controlPlane, node, image, refusal) => {
    const answer = skewRefusal('worker', controlPlane, node, image);
    if (refusal === undefined) expect(answer).toBeUndefined();
    else expect(answer).toMatch(refusal);
  });
});

describe('a control-plane node', () => {
  it.each<[string, string[], string, string | undefined, RegExp | undefined]>([
    ['goes to another patch', [k3s(33)], k3s(33), 'v1.33.9+k3s1', undefined],
    ['goes one minor', [k3s(33)], k3s(33), k3s(34), undefined],
    ['never skips one', [k3s(32)], k3s(32), k3s(34), /skips a minor after .* 1\.32: go through 1\.33/],
    ['never goes back', [k3s(34)], k3s(34), k3s(33), /older than the node's 1\.34/],
    ['follows the others', [k3s(34), k3s(33)], k3s(33), k3s(34), undefined],
    [
      'does not run ahead of a member that was left behind: they may not be two minors apart',
      [k3s(32), k3s(33)],
      k3s(33),
      k3s(34),
      /skips a minor after the control plane's 1\.32/,
    ],
    ['is not judged by a core image', [k3s(33)], k3s(33), undefined, undefined],
    ['is not judged while its version is unknown', [k3s(33)], '', k3s(35), undefined],
  ])('%s', (_, controlPlane, node, image, refusal) => {
    const answer = skewRefusal('control-plane', controlPlane, node, image);
    if (refusal === undefined) expect(answer).toBeUndefined();
    else expect(answer).toMatch(refusal);
  });
});

it('what is allowed never leaves the cluster outside the version skew policy', () => {
  const minor = fc.integer({ min: 28, max: 36 });
  fc.assert(
    fc.property(
      fc.integer({ min: 28, max: 35 }),
      fc.array(fc.nat(1), { minLength: 1, maxLength: 5 }),
      minor,
      (base, ahead, wanted) => {
        const members = ahead.map((n) => base + n);
        const controlPlane = members.map(k3s);
        if (skewRefusal('worker', controlPlane, k3s(base), k3s(wanted)) === undefined) {
          for (const member of members) {
            expect(wanted).toBeLessThanOrEqual(member);
            expect(wanted).toBeGreaterThanOrEqual(member - 3);
          }
        }
        const [first = base, ...others] = members;
        if (skewRefusal('control-plane', controlPlane, k3s(first), k3s(wanted)) === undefined) {
          expect(wanted).toBeGreaterThanOrEqual(first);
          for (const member of others) expect(wanted - member).toBeLessThanOrEqual(1);
        }
      },
    ),
  );
});
