import type { KairosNodeAgentStatus } from '../api/types.ts';

type Stamp = NonNullable<KairosNodeAgentStatus['stamp']>;

/** As long as the resource holds them. */
const STAMP_LIMITS = { digest: 300, image: 1000, rollout: 1000, sourceBootID: 64 } as const;

/**
 * The stamp that the upgrade baked into the running image: one JSON object. Fields that the API server would refuse
 * are left out, since a report with them would never be accepted. What cannot be read gives a stamp that says nothing:
 * still somebody's stamp, and no proof of the upgrade that asks. `left` gets a sentence for each thing left out.
 */
export function parseStamp(text: string, left: string[]): Stamp {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    left.push('the stamp: it is no JSON');
    return {};
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    left.push('the stamp: it is no JSON object');
    return {};
  }
  const given = parsed as Record<string, unknown>;
  const stamp: Record<string, string> = {};
  for (const [key, limit] of Object.entries(STAMP_LIMITS)) {
    const value = given[key];
    if (value === undefined) continue;
    const isFit = typeof value === 'string' && value !== '' && value.length <= limit && isPrintable(value);
    if (isFit) stamp[key] = value;
    else left.push(`${key} of the stamp: it is no text of 1 to ${limit} printable characters`);
  }
  return stamp;
}

function isPrintable(value: string): boolean {
  return value.isWellFormed() && !/\p{Cc}/u.test(value);
}
