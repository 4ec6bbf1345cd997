import type { Misfit } from '../api/types.ts';
import { versionOf } from './release.ts';

const DISTRIBUTION = 'KAIROS_SOFTWARE_VERSION_PREFIX';

/** The field, its name in a sentence, and the word with which strategy.allowMisfit lets it differ. */
const MUST_MATCH: readonly (readonly [string, string, Misfit?])[] = [
  [DISTRIBUTION, 'Kubernetes distribution', 'Distribution'],
  ['KAIROS_MODEL', 'model', 'Model'],
  ['KAIROS_TARGETARCH', 'architecture'],
  ['KAIROS_TRUSTED_BOOT', 'trusted boot'],
  ['KAIROS_FIPS', 'FIPS mode', 'FIPS'],
  ['KAIROS_FAMILY', 'family', 'Family'],
];

/**
 * Why an image does not fit a node, or undefined when it does. An image of another distribution or model boots and
 * passes the boot assessment, but the node never joins again, so this is asked before anything is disrupted.
 * Fields that one side does not have are not compared, but for the distribution: a core image on a k3s node is a misfit.
 * @param allowed what a person lets differ on purpose; an architecture or a boot chain is never among it
 */
export function misfit(
  node: Record<string, string>,
  image: Record<string, string>,
  allowed: readonly Misfit[] = [],
): string | undefined {
  for (const [field, name, word] of MUST_MATCH) {
    if (word !== undefined && allowed.includes(word)) continue;
    const distribution = field === DISTRIBUTION;
    const has = distribution ? distributionOf(node) : node[field];
    const wants = distribution ? distributionOf(image) : image[field];
    if (has === wants || (!distribution && (has === undefined || wants === undefined))) continue;
    const meant = word === undefined ? '' : ` (if that is meant: strategy.allowMisfit: [${word}])`;
    return `${name}: the node has ${has ?? 'none'}, the image ${wants ?? 'none'}${meant}`;
  }
  return undefined;
}

/** Images from before that field name the distribution in their version only. */
function distributionOf(fields: Record<string, string>): string | undefined {
  const named = /-([a-z][a-z0-9]*?)v\d+\.\d+\.\d+(?:-[a-z]+\.?\d*)?(?:\+[0-9A-Za-z.]+)?$/;
  return fields[DISTRIBUTION] ?? named.exec(versionOf(fields) ?? '')?.[1];
}
