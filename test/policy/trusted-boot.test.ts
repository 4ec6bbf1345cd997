import { describe, expect, it } from '@jest/globals';
import { type BootKnowledge, hasTrustedBoot, trustedBootRefusal } from '../../policy/trusted-boot.ts';

const label = (value: string) => ({ 'kairos.io/trusted-boot': value });
const built = (value: string) => ({ release: { KAIROS_TRUSTED_BOOT: value } });

describe('a machine has trusted boot', () => {
  it.each<[string, BootKnowledge, boolean]>([
    ['where its agent has seen it', { status: { trustedBoot: true } }, true],
    [
      'where its agent has seen it, whatever else is said',
      { status: { trustedBoot: true, ...built('false') }, labels: label('false') },
      true,
    ],
    ['where its label says so', { status: built('false'), labels: label('true') }, true],
    ['where its image was built for it', { status: built('true') }, true],
    ['but not where its label says that it has none', { status: built('true'), labels: label('false') }, false],
    ['but not where nothing is known', {}, false],
    ['but not by a label that says something else', { labels: label('perhaps') }, false],
  ])('%s', (_, machine, has) => {
    expect(hasTrustedBoot(machine)).toBe(has);
  });
});

describe('an upgrade of such a machine', () => {
  const machine = (bootState: 'active' | 'passive') =>
    ({ status: { trustedBoot: true, bootState } }) satisfies BootKnowledge;
  const asked = { excludePaths: [] as string[], upgradeActive: true };

  it.each<[string, BootKnowledge, Partial<typeof asked>, RegExp | undefined]>([
    ['is made from its active entry', machine('active'), {}, undefined],
    ['leaves nothing out', machine('active'), { excludePaths: ['/x'] }, /take spec.excludePaths away/],
    [
      'is not made from its passive entry, which would be overwritten',
      machine('passive'),
      {},
      /kairos-agent upgrade --boot-entry active/,
    ],
    ['of its recovery entry is made from any', machine('passive'), { upgradeActive: false }, undefined],
    [
      'may leave something out on another machine',
      { status: { bootState: 'passive' } },
      { excludePaths: ['/x'] },
      undefined,
    ],
  ])('%s', (_, knowledge, more, refusal) => {
    const answer = trustedBootRefusal(knowledge, { ...asked, ...more });
    if (refusal === undefined) expect(answer).toBeUndefined();
    else expect(answer).toMatch(refusal);
  });
});
