import type { NodeOpUpgradeSpec, Strategy } from '../api/types.ts';

/** Fields that are taken as a whole although they have fields: half of one selector and half of another is neither. */
const WHOLE: ReadonlySet<string> = new Set(['podSelector', 'ignorePods', 'nodeSelector', 'selector']);

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function merged(standard: Record<string, unknown>, given: Record<string, unknown>): Record<string, unknown> {
  const result = { ...standard };
  for (const [name, value] of Object.entries(given)) {
    const before = standard[name];
    result[name] = isMap(value) && isMap(before) && !WHOLE.has(name) ? merged(before, value) : value;
  }
  return result;
}

/**
 * The strategy of a NodeOpUpgrade over the defaults of this installation: what it names wins, field by field; lists and
 * selectors are taken as a whole. `concurrency` of the earlier operator names the same as `maxUnavailable`, and
 * `stopOnFailure` the same as `maxFailed`.
 */
export function mergeStrategy(
  defaults: Strategy,
  { strategy = {}, concurrency = 0, stopOnFailure }: NodeOpUpgradeSpec,
): Strategy {
  const { maxUnavailable, maxFailed, ...others } = defaults;
  const standard = {
    ...others,
    ...(maxUnavailable === undefined || concurrency > 0 ? {} : { maxUnavailable }),
    ...(maxFailed === undefined || stopOnFailure !== undefined ? {} : { maxFailed }),
  };
  return merged(standard, strategy);
}
