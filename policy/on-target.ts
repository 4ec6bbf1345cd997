import type { KairosNodeAgentStatus } from '../api/types.ts';
import { sameVersion, versionOf } from './release.ts';

/**
 * Whether a node runs the target already, by its agent's report. One that runs from its passive image or its recovery
 * system does not, whatever its version says: what its active image is, is another matter.
 */
export function runsTarget(status: KairosNodeAgentStatus | undefined, version: string): boolean {
  const runs = status?.release === undefined ? undefined : versionOf(status.release);
  const fellBack = status?.bootState === 'passive' || status?.bootState === 'recovery';
  return runs !== undefined && sameVersion(runs, version) && !fellBack;
}
