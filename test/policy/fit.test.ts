import { describe, expect, it } from '@jest/globals';
import { misfit } from '../../policy/fit.ts';

const NODE = {
  KAIROS_FAMILY: 'hadron',
  KAIROS_FIPS: 'false',
  KAIROS_MODEL: 'generic',
  KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1',
  KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
  KAIROS_TARGETARCH: 'amd64',
  KAIROS_TRUSTED_BOOT: 'false',
  KAIROS_VERSION: 'v4.0.3',
};
/** As images were written before KAIROS_SOFTWARE_VERSION_PREFIX. */
const OLD = {
  KAIROS_VERSION: 'v3.2.4-36-g24ca209-v1.32.0-k3s1',
  KAIROS_RELEASE: 'v3.2.4-36-g24ca209',
  KAIROS_MODEL: 'generic',
};
const CORE = { KAIROS_VERSION: 'v4.0.3', KAIROS_MODEL: 'generic' };

describe('an image fits a node', () => {
  it.each<[string, Record<string, string>, Record<string, string>]>([
    ['when it is the same', NODE, NODE],
    ['when only versions differ', NODE, { ...NODE, KAIROS_VERSION: 'v4.1.0', KAIROS_SOFTWARE_VERSION: 'v1.34.1+k3s1' }],
    ['when it says less, but for the distribution', NODE, { KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' }],
    ['when it says more, but for the distribution', { KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' }, NODE],
    ['when neither has a distribution', CORE, CORE],
    ['when the node is of the time before the field for the distribution', OLD, NODE],
    ['when the image is of that time', NODE, OLD],
  ])('%s', (_, node, image) => {
    expect(misfit(node, image)).toBeUndefined();
  });
});

describe('an image is refused', () => {
  it.each<[string, Record<string, string>, Record<string, string>, string]>([
    [
      'a core image on a k3s node',
      NODE,
      CORE,
      'Kubernetes distribution: the node has k3s, the image none (if that is meant: strategy.allowMisfit: [Distribution])',
    ],
    [
      'a k3s image on a core node',
      CORE,
      NODE,
      'Kubernetes distribution: the node has none, the image k3s (if that is meant: strategy.allowMisfit: [Distribution])',
    ],
    [
      'k0s on k3s',
      NODE,
      { ...NODE, KAIROS_SOFTWARE_VERSION_PREFIX: 'k0s' },
      'Kubernetes distribution: the node has k3s, the image k0s (if that is meant: strategy.allowMisfit: [Distribution])',
    ],
    [
      'k0s on an old k3s node',
      OLD,
      { ...NODE, KAIROS_SOFTWARE_VERSION_PREFIX: 'k0s' },
      'Kubernetes distribution: the node has k3s, the image k0s (if that is meant: strategy.allowMisfit: [Distribution])',
    ],
    [
      'a core image on an old k3s node',
      OLD,
      CORE,
      'Kubernetes distribution: the node has k3s, the image none (if that is meant: strategy.allowMisfit: [Distribution])',
    ],
    [
      'another model',
      NODE,
      { ...NODE, KAIROS_MODEL: 'rpi4' },
      'model: the node has generic, the image rpi4 (if that is meant: strategy.allowMisfit: [Model])',
    ],
    [
      'another architecture',
      NODE,
      { ...NODE, KAIROS_TARGETARCH: 'arm64' },
      'architecture: the node has amd64, the image arm64',
    ],
    [
      'trusted boot on GRUB',
      NODE,
      { ...NODE, KAIROS_TRUSTED_BOOT: 'true' },
      'trusted boot: the node has false, the image true',
    ],
    [
      'no FIPS on FIPS',
      { ...NODE, KAIROS_FIPS: 'true' },
      NODE,
      'FIPS mode: the node has true, the image false (if that is meant: strategy.allowMisfit: [FIPS])',
    ],
    [
      'another family',
      NODE,
      { ...NODE, KAIROS_FAMILY: 'debian' },
      'family: the node has hadron, the image debian (if that is meant: strategy.allowMisfit: [Family])',
    ],
  ])('%s', (_, node, image, reason) => {
    expect(misfit(node, image)).toBe(reason);
  });
});

describe('what is allowed to differ', () => {
  const OTHER = {
    ...NODE,
    KAIROS_SOFTWARE_VERSION_PREFIX: 'k0s',
    KAIROS_MODEL: 'rpi4',
    KAIROS_FIPS: 'true',
    KAIROS_FAMILY: 'debian',
  };

  it('fits, and only that', () => {
    expect(misfit(NODE, OTHER, ['Distribution', 'Model', 'FIPS', 'Family'])).toBeUndefined();
    expect(misfit(NODE, OTHER, ['Distribution', 'FIPS', 'Family'])).toMatch(/^model: /);
    expect(misfit(NODE, OTHER, ['Model', 'FIPS', 'Family'])).toMatch(/^Kubernetes distribution: /);
  });

  it.each([
    ['architecture', { KAIROS_TARGETARCH: 'arm64' }],
    ['boot chain', { KAIROS_TRUSTED_BOOT: 'true' }],
  ])('is never the %s: such an image does not boot', (_, other) => {
    const image = { ...OTHER, ...other };
    expect(misfit(NODE, image, ['Distribution', 'Model', 'FIPS', 'Family'])).toMatch(
      /^(architecture|trusted boot): [^(]*$/,
    );
  });
});
