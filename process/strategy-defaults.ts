import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Strategy } from '../api/types.ts';
import { strategyMistakes } from './strategy-check.ts';

/**
 * The defaults of `spec.strategy` from a file in YAML of the same form; an empty file has none.
 * @throws Error that names the file, each wrong field and what to write
 */
export function readStrategyDefaults(file: string): Strategy {
  const given = parsed(file) ?? {};
  const mistakes = strategyMistakes(given);
  if (mistakes.length > 0)
    throw new Error(
      `defaults of spec.strategy, ${file}: ${mistakes.join('; ')}; the file is of the form of spec.strategy, see kubectl explain nodeopupgrade.spec.strategy`,
    );
  return given;
}

function parsed(file: string): unknown {
  try {
    return parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`defaults of spec.strategy, ${file}: cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
