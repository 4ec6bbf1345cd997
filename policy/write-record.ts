import type { WriteRecord } from '../api/types.ts';
import type { WriterEnd } from './write-outcome.ts';

const LINES = 20;
const CHARACTERS = 2000;
/** Of a log that tells of a success: the histories of large rollouts hold one for each node. */
const SUCCESS_CHARACTERS = 300;
/** Colours and the movements of a cursor, as programs write them for a terminal. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const TERMINAL_SEQUENCE = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
const NOT_PRINTABLE = /[^\P{C}\t]/gu;

/**
 * The last lines of a log, fit for a status: at most 20 lines and 2000 characters, printable ones only. Of a line that
 * was written over again and again, such as a progress bar, the last state counts.
 */
function logTail(text: string): string {
  const lines = text
    .replace(TERMINAL_SEQUENCE, '')
    .split('\n')
    .map((line) => lastState(line).replace(NOT_PRINTABLE, '').trimEnd())
    .filter((line) => line.trim() !== '');
  return lastCharacters(lines.slice(-LINES).join('\n'), CHARACTERS);
}

const lastState = (line: string) => line.split('\r').findLast((part) => part.trim() !== '') ?? '';

/** Never begins in the middle of a character of two units. */
const lastCharacters = (text: string, count: number) =>
  text.length <= count ? text : text.slice(-count).replace(/^[\uDC00-\uDFFF]/, '');

/** What is kept of a pod that wrote an image: it and its Job go, and this stays. */
export function writeRecord(step: WriteRecord['step'], bootID: string, pod: WriterEnd): WriteRecord {
  const { exitCode, message = '', startedAt, finishedAt } = pod.terminated ?? {};
  const reason = [...new Set([pod.reason, pod.terminated?.reason])].filter(Boolean).join(', ');
  const tail = logTail([message, pod.message ?? ''].join('\n'));
  return {
    step,
    bootID,
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(reason === '' ? {} : { reason: reason.slice(0, 1000) }),
    ...(tail === '' ? {} : { logTail: tail }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(finishedAt === undefined ? {} : { finishedAt }),
  };
}

/** What is kept where the machine rebooted before kubelet could tell how the writing ended. */
export const rebootedRecord = (step: WriteRecord['step'], bootID: string): WriteRecord => ({
  step,
  bootID,
  reason: 'NodeRebooted',
});

/** The records with this one in the place of an earlier one of its step. */
export const withRecord = (records: readonly WriteRecord[] | undefined, record: WriteRecord): WriteRecord[] => [
  ...(records ?? []).filter(({ step }) => step !== record.step),
  record,
];

/** The same as the result of a node's workflow carries it: of a success the last words only. */
export const shortRecords = (records: readonly WriteRecord[]): WriteRecord[] =>
  records.map((record) =>
    record.exitCode === 0 && record.logTail !== undefined
      ? { ...record, logTail: lastCharacters(record.logTail, SUCCESS_CHARACTERS) }
      : record,
  );
