import { versionOf } from './release.ts';

const DISTRIBUTION = 'KAIROS_SOFTWARE_VERSION_PREFIX';

const MUST_MATCH = [
  [DISTRIBUTION, 'Kubernetes distribution'],
  ['KAIROS_MODEL', 'model'],
  ['KAIROS_TARGETARCH', 'architecture'],
  ['KAIROS_TRUSTED_BOOT', 'trusted boot'],
  ['KAIROS_FIPS', 'FIPS mode'],
  ['KAIROS_FAMILY', 'family'],
] as const;

/**
 * Why an image does not fit a node, or undefined when it does. An image of another distribution or model boots and
 * passes the boot assessment, but the node never joins again, so this is asked before anything is disrupted.
 * Fields that one side does not have are not compared, but for the distribution: a core image on a k3s node is a misfit.
 */
export function misfit(node: Record<string, string>, image: Record<string, string>): string | undefined {
  for (const [field, name] of MUST_MATCH) {
    const distribution = field === DISTRIBUTION;
    const has = distribution ? distributionOf(node) : node[field];
    const wants = distribution ? distributionOf(image) : image[field];
    if (has === wants || (!distribution && (has === undefined || wants === undefined))) continue;
    return `${name}: the node has ${has ?? 'none'}, the image ${wants ?? 'none'}`;
  }
  return undefined;
}

/** Images from before that field name the distribution in their version only. */
function distributionOf(fields: Record<string, string>): string | undefined {
  const named = /-([a-z][a-z0-9]*?)v\d+\.\d+\.\d+(?:-[a-z]+\.?\d*)?(?:\+[0-9A-Za-z.]+)?$/;
  return fields[DISTRIBUTION] ?? named.exec(versionOf(fields) ?? '')?.[1];
}
