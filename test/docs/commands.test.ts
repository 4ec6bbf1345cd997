import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { COMMANDS, RUN_BY, documentedLines, isLineOf, type Command } from './commands.ts';
import { commandLines } from './documents.ts';

const NAMES = Object.keys(COMMANDS) as Command[];

describe('the commands of the documents', () => {
  it.each(documentedLines())('%s', (line) => {
    expect(NAMES.filter((name) => isLineOf(name, line))).toHaveLength(1);
  });

  it.each(NAMES)('have one line for: %s', (name) => {
    expect(documentedLines().filter((line) => isLineOf(name, line))).toHaveLength(1);
  });

  it('are each run by one test on a real cluster', () => {
    expect(Object.values(RUN_BY).flat().sort()).toEqual([...NAMES].sort());
    // Each of them compares this list with what it has run.
    for (const file of Object.keys(RUN_BY)) expect(readFileSync(file, 'utf8')).toContain(`RUN_BY['${file}']`);
  });
});

it('only lines of sh blocks are commands', () => {
  const text = ['```yaml', 'kind: x', '```', 'kubectl a', '```sh', '# Why.', 'kubectl b', '', 'c=1', '```'].join('\n');
  expect(commandLines(text)).toEqual(['kubectl b', 'c=1']);
});
