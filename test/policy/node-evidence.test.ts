import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { EVIDENCE_LINES, parseNodeEvidence } from '../../policy/node-evidence.ts';

const WORDS = `boot-id 0c3b7a0e-1d8f-4f5e-9f51-1b0fd2d7a0aa
kairos-release KAIROS_RELEASE="v4.0.3"
kairos-release KAIROS_SOFTWARE_VERSION="v1.33.9+k3s1"
kairos-release KAIROS_SOFTWARE_VERSION_PREFIX="k3s"
stamp-boot 5e9f51
run-cos active_mode
cmdline BOOT_IMAGE=(loop0)/boot/vmlinuz root=LABEL=COS_ACTIVE
`;

describe('the words of a pod that read a node', () => {
  it('are what its agent would have reported', () => {
    expect(parseNodeEvidence(WORDS)).toEqual({
      bootID: '0c3b7a0e-1d8f-4f5e-9f51-1b0fd2d7a0aa',
      bootState: 'active',
      observedVersion: 'v4.0.3-k3sv1.33.9+k3s1',
      release: {
        KAIROS_RELEASE: 'v4.0.3',
        KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
        KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
      },
      stamp: { sourceBootID: '5e9f51' },
    });
  });

  it.each([
    ['no stamp', WORDS.replace(/stamp-boot .*\n/, ''), undefined],
    ['a stamp that names no boot', WORDS.replace(/stamp-boot .*/, 'stamp-boot '), {}],
  ])('tell %s', (_, words, stamp) => {
    expect(parseNodeEvidence(words)?.stamp).toEqual(stamp);
  });

  it('take an old image at the word of its os-release', () => {
    const words = 'boot-id b\nos-release KAIROS_VERSION="v3.2.4-36-g24ca209-v1.32.0-k3s1"\n';
    expect(parseNodeEvidence(words)).toMatchObject({ bootState: 'unknown', observedVersion: expect.any(String) });
  });

  it.each([
    ['passive', 'run-cos passive_mode'],
    ['passive', 'loader-entry passive+3.conf'],
    ['recovery', 'run-cos recovery_mode'],
    ['unknown', 'run-cos uki_boot_mode'],
    ['active', 'run-cos uki_boot_mode\nloader-device yes\nloader-entry active.conf'],
    ['livecd', 'run-cos uki_boot_mode\nloader-device no'],
  ])('tell the slot %s by: %s', (state, line) => {
    const words = `${WORDS.replace(/run-cos .*\n/, '').replace(/cmdline .*\n/, '')}${line}\n`;
    expect(parseNodeEvidence(words)?.bootState).toBe(state);
  });

  it.each([
    ['nothing', ''],
    ['no boot', WORDS.replace(/boot-id .*/, 'boot-id ')],
    ['no Kairos release', WORDS.replaceAll(/kairos-release .*\n/g, '')],
    ['an error of the shell', '/bin/sh: cat: not found'],
  ])('prove nothing where they are %s', (_, words) => {
    expect(parseNodeEvidence(words)).toBeUndefined();
  });

  it('are never more than what they say, whatever is in them', () => {
    const line = fc.tuple(fc.constantFrom(...EVIDENCE_LINES, 'other'), fc.string()).map((parts) => parts.join(' '));
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const parsed = parseNodeEvidence(lines.join('\n'));
        if (parsed === undefined) return;
        expect(parsed.bootID).toMatch(/^[\w-]{1,64}$/);
        expect(Object.keys(parsed.release ?? {}).some((key) => key.startsWith('KAIROS_'))).toBe(true);
      }),
    );
  });
});
