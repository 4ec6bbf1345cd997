import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { kairosNodeOperatorStatus } from '../../api/schemas/kairos-node.ts';
import type { WriterEnd } from '../../policy/write-outcome.ts';
import { rebootedRecord, shortRecords, withRecord, writeRecord } from '../../policy/write-record.ts';

const ended = (message: string, more: Partial<WriterEnd> = {}): WriterEnd => ({
  phase: 'Succeeded',
  started: true,
  terminated: { exitCode: 0, message },
  ...more,
});
const tail = (message: string) => writeRecord('upgrade', 'boot-1', ended(message)).logTail;

describe('the end of a log that is kept', () => {
  it.each<[string, string, string | undefined]>([
    ['as it is', 'writing\ndone\n', 'writing\ndone'],
    ['without colours', '\u001b[1;31mError\u001b[0m: no \u001b]0;title\u0007space', 'Error: no space'],
    ['without what moves a cursor or rings a bell', 'a\u0007b\u0000c\u0008', 'abc'],
    ['with the last state of a progress bar', 'copying 1%\rcopying 50%\rcopying 100%\r\ndone', 'copying 100%\ndone'],
    ['with its tabs, and letters of any language', 'größe:\t5 МиБ', 'größe:\t5 МиБ'],
    ['without empty lines', 'a\n\n   \nb\n', 'a\nb'],
    ['as nothing where there is nothing', ' \n\u001b[0m\n', undefined],
  ])('%s', (_, log, kept) => {
    expect(tail(log)).toBe(kept);
  });

  it('is its last twenty lines', () => {
    const lines = Array.from({ length: 100 }, (_, index) => `line ${index}`);
    expect(tail(lines.join('\n'))?.split('\n')).toEqual(lines.slice(-20));
  });

  it('never has more than the resource holds, and nothing that a terminal obeys', () => {
    const anyLog = fc
      .array(fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.constant('\n'), fc.constant('🙂')))
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(anyLog, (log) => {
        const kept = tail(log) ?? '';
        expect(kept.length).toBeLessThanOrEqual(2000);
        expect(kept.split('\n').length).toBeLessThanOrEqual(20);
        expect(kept.replace(/[\n\t]/g, '')).not.toMatch(/\p{C}/u);
        expect(kept.isWellFormed()).toBe(true);
      }),
    );
  });
});

describe('what is kept of the pod that wrote', () => {
  it('fits the resource, whatever kubelet says', () => {
    const pod = ended('x'.repeat(5000), { reason: 'y'.repeat(5000), message: 'z'.repeat(5000) });
    const writes = [writeRecord('upgrade', 'boot-1', pod), rebootedRecord('recovery', 'boot-2')];
    expect(kairosNodeOperatorStatus.shape.lastAttempt.unwrap().shape.writes.safeParse(writes).success).toBe(true);
  });

  it('has one record a step, the last one', () => {
    const first = writeRecord('upgrade', 'boot-1', ended('one'));
    const both = withRecord(withRecord(undefined, first), writeRecord('recovery', 'boot-2', ended('two')));
    expect(
      withRecord(both, writeRecord('upgrade', 'boot-1', ended('three'))).map(({ step, logTail }) => [step, logTail]),
    ).toEqual([
      ['recovery', 'two'],
      ['upgrade', 'three'],
    ]);
  });

  it('is cut in the result of a workflow where it tells of a success only', () => {
    const log = `${'x'.repeat(1000)}\nthe end`;
    const records = [
      writeRecord('upgrade', 'boot-1', ended(log)),
      writeRecord('recovery', 'boot-2', { ...ended(''), terminated: { exitCode: 1, message: log } }),
    ];
    expect(shortRecords(records).map(({ logTail = '' }) => [logTail.length, logTail.endsWith('the end')])).toEqual([
      [300, true],
      [1008, true],
    ]);
  });
});
