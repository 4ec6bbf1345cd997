import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { parseWrites } from '../../rig/disk.ts';
import { environmentBlock } from '../../rig/grub-block.ts';
import { PACKAGES } from '../../rig/requirements.ts';
import { parseEnvironment } from '../../sim/grub.ts';
import { ROOT } from '../rooms/imports.ts';

describe('what the stand-in for kairos-agent records', () => {
  it.each([
    ['nothing', '', []],
    [
      'a run that goes on',
      '100 boot-1 no started\n',
      [{ bootID: 'boot-1', recovery: false, atMs: 100, exitCode: undefined }],
    ],
    [
      'a run that was killed with its machine, and one after it',
      '100 boot-1 no started\n200 boot-2 yes started\n300 boot-2 yes ended 0\n',
      [
        { bootID: 'boot-1', recovery: false, atMs: 100, exitCode: undefined },
        { bootID: 'boot-2', recovery: true, atMs: 200, exitCode: 0 },
      ],
    ],
    ['a run that failed', '1 b no started\n2 b no ended 1\n', [{ bootID: 'b', recovery: false, atMs: 1, exitCode: 1 }]],
  ])('%s', (_, text, writes) => {
    expect(parseWrites(text)).toEqual(writes);
  });
});

describe("GRUB's environment block", () => {
  it('is of the one size that GRUB reads, and holds what was put in', () => {
    const block = environmentBlock({ enable_boot_assessment: 'yes', next_entry: 'cos' });
    expect(block).toHaveLength(1024);
    expect(block.startsWith('# GRUB Environment Block\n')).toBe(true);
    expect(parseEnvironment(block)).toEqual({ enable_boot_assessment: 'yes', next_entry: 'cos' });
  });

  it('holds no more than fits', () => {
    expect(() => environmentBlock({ long: 'x'.repeat(1024) })).toThrow('1024 bytes');
  });
});

it('CI installs the packages that real nodes need', () => {
  const script = readFileSync(`${ROOT}/.ci/run`, 'utf8');
  const [, listed = ''] = /^packages='(.*)'$/m.exec(script) ?? [];
  expect(listed.split(' ')).toEqual(PACKAGES);
});
