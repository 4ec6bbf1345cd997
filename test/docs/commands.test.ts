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
    for (const [file, commands] of Object.entries(RUN_BY)) {
      const source = readFileSync(file, 'utf8');
      for (const command of commands) expect(source).toContain(`'${command}'`);
    }
  });
});

it('only lines of sh blocks are commands', () => {
  const text = ['```yaml', 'kind: x', '```', 'kubectl a', '```sh', '# Why.', 'kubectl b', '', 'c=1', '```'].join('\n');
  expect(commandLines(text)).toEqual(['kubectl b', 'c=1']);
});
