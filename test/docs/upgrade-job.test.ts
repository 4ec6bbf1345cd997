import { describe, expect, it } from '@jest/globals';
import { UPGRADE_SCRIPT } from '../../activities/scripts.ts';
import { writeOutcome } from '../../policy/write-outcome.ts';
import { documentText, tableRows } from './documents.ts';

const [table = []] = tableRows(documentText('docs/upgrade-job.md', 'Its exit code and its log'));
const own = table.filter(([code = '']) => /^\d+$/.test(code));

describe('the table of exit codes', () => {
  it('has those of the script, and no others', () => {
    const given = [...UPGRADE_SCRIPT.matchAll(/exit (\d+)/g)].map(([, code]) => code);
    expect(new Set(own.map(([code]) => code))).toEqual(new Set(['0', ...given]));
  });

  it.each(own)('says of %s what becomes of the node', (code = '', _ = '', image = '', verdict = '') => {
    const exitCode = Number(code);
    const phase = exitCode === 0 ? 'Succeeded' : 'Failed';
    const outcome = writeOutcome('n-1', { phase, started: true, terminated: { exitCode } })?.outcome ?? '';
    const told: Record<string, [string, string]> = {
      Written: ['written', 'what its new boot shows'],
      AnotherBoot: ['not by this', 'what its new boot shows'],
      NotTouched: ['not touched', '`Failed`'],
      Failed: ['in doubt', '`UpgradeFailed`'],
    };
    expect([image, verdict]).toEqual(told[outcome]);
  });
});
