import type { RolloutSpec } from '../api/rollout-spec.ts';
import type { NodeOpUpgradeSpec } from '../api/types.ts';
import { strategyMistakes } from '../process/strategy-check.ts';
import { mergeStrategy } from '../policy/strategy-defaults.ts';
import { resolveSpec } from '../policy/strategy.ts';
import type { WatcherContext } from './context.ts';

/**
 * What a rollout is started with: the spec over the defaults of this installation. Each was right by itself; where they
 * do not go together the rollout is started all the same, and ends with the reason: who asked for it sees it there.
 */
export function specOf({ defaults }: Pick<WatcherContext, 'defaults'>, spec: NodeOpUpgradeSpec): RolloutSpec {
  const mistakes = Object.keys(defaults).length === 0 ? [] : strategyMistakes(mergeStrategy(defaults, spec));
  if (mistakes.length === 0) return resolveSpec(spec, defaults);
  const refused = `spec.strategy does not go with the defaults of this installation (defaults.strategy of the chart): ${mistakes.join('; ')}`;
  return { ...resolveSpec(spec), refused };
}
