import type { Strategy } from '../api/types.ts';
import { resolveSpec } from '../policy/strategy.ts';
import { windowMistake } from '../policy/windows.ts';
import { readStrategyDefaults } from '../process/strategy-defaults.ts';

/**
 * The defaults of spec.strategy of this installation; without a file there are none.
 * @throws Error that names the file, each wrong field and what to write, also what only a calendar knows to be wrong
 */
export function readDefaults(file: string | undefined): Strategy {
  if (file === undefined) return {};
  const defaults = readStrategyDefaults(file);
  const mistake = windowMistake(resolveSpec({ image: '' }, defaults).windows ?? [], Date.now());
  if (mistake !== undefined) throw new Error(`defaults of spec.strategy, ${file}: ${mistake}`);
  return defaults;
}
