import { describe, expect, it } from '@jest/globals';
import { pickRelease, pickReleaseFields, sameVersion, versionOf } from '../../policy/release.ts';

interface Sample {
  readonly kairosRelease?: string;
  readonly osRelease?: string;
  readonly version: string | undefined;
}

const UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n';

/** As kairos-init writes it: sorted, quoted, KAIROS_VERSION and KAIROS_RELEASE the same. */
const kairosInit = (version: string, software: string[] = []) =>
  [
    'KAIROS_ARCH="amd64"',
    'KAIROS_BUG_REPORT_URL="https://github.com/kairos-io/kairos/issues"',
    'KAIROS_FAMILY="hadron"',
    'KAIROS_FIPS="false"',
    'KAIROS_FLAVOR="hadron"',
    'KAIROS_FLAVOR_RELEASE="v0.0.4"',
    'KAIROS_HOME_URL="https://github.com/kairos-io/kairos"',
    'KAIROS_ID="kairos"',
    'KAIROS_ID_LIKE="kairos-core-hadron-v0.0.4"',
    'KAIROS_INIT_VERSION="v0.8.4"',
    'KAIROS_MODEL="generic"',
    'KAIROS_NAME="kairos-core-hadron-v0.0.4"',
    `KAIROS_RELEASE="${version}"`,
    ...software,
    'KAIROS_TARGETARCH="amd64"',
    'KAIROS_TRUSTED_BOOT="false"',
    'KAIROS_VARIANT="core"',
    `KAIROS_VERSION="${version}"`,
    '',
  ].join('\n');

/** As versioneer wrote it before kairos-init: in any order, KAIROS_VERSION with the distribution in it. */
const versioneer = (release: string, software: string, prefix: string) => {
  const version = `${release}-${software.replaceAll('+', '-')}`;
  const tag = `leap-15.5-standard-amd64-generic-${release}-${prefix}${software.replaceAll('+', '-')}`;
  return [
    `KAIROS_SOFTWARE_VERSION="${software}"`,
    'KAIROS_VARIANT="standard"',
    'KAIROS_ID_LIKE="kairos-standard-opensuse-leap-15.5"',
    `KAIROS_VERSION_ID="${version}"`,
    `KAIROS_IMAGE_LABEL="${tag}"`,
    `KAIROS_PRETTY_NAME="kairos-standard-opensuse-leap-15.5 ${version}"`,
    'KAIROS_FLAVOR="opensuse"',
    `KAIROS_ARTIFACT="kairos-opensuse-${tag.replaceAll('-k3s1', '+k3s1')}"`,
    'KAIROS_MODEL="generic"',
    `KAIROS_SOFTWARE_VERSION_PREFIX="${prefix}"`,
    `KAIROS_IMAGE_REPO="quay.io/kairos/opensuse:${tag}"`,
    'KAIROS_ID="kairos"',
    `KAIROS_VERSION="${version}"`,
    'KAIROS_FLAVOR_RELEASE="leap-15.5"',
    'KAIROS_REGISTRY_AND_ORG="quay.io/kairos"',
    'KAIROS_GITHUB_REPO="kairos-io/kairos"',
    'KAIROS_TARGETARCH="amd64"',
    'KAIROS_FAMILY="opensuse"',
    `KAIROS_RELEASE="${release}"`,
    '',
  ].join('\n');
};

const software = (version: string, prefix: string) => [
  `KAIROS_SOFTWARE_VERSION="${version}"`,
  `KAIROS_SOFTWARE_VERSION_PREFIX="${prefix}"`,
];

const SAMPLES: Record<string, Sample> = {
  'v4.0.3 with k3s': {
    kairosRelease: kairosInit('v4.0.3', software('v1.32.4+k3s1', 'k3s')),
    osRelease: 'ID="hadron"\nVERSION_ID="v0.0.4"\nPRETTY_NAME="Hadron Linux"\n',
    version: 'v4.0.3-k3sv1.32.4+k3s1',
  },
  'v4.0.1 core, without a distribution': { kairosRelease: kairosInit('v4.0.1'), osRelease: UBUNTU, version: 'v4.0.1' },
  'v3.5.0 with k0s': {
    kairosRelease: kairosInit('v3.5.0', software('v1.33.3+k0s.0', 'k0s')),
    osRelease: UBUNTU,
    version: 'v3.5.0-k0sv1.33.3+k0s.0',
  },
  'v4.1.0-rc2 with a release candidate of k3s': {
    kairosRelease: kairosInit('v4.1.0-rc2', software('v1.34.0-rc1+k3s1', 'k3s')),
    version: 'v4.1.0-rc2-k3sv1.34.0-rc1+k3s1',
  },
  'between two releases, by kairos-init': {
    kairosRelease: kairosInit('v4.0.3-12-gabc1234', software('v1.33.9+k3s1', 'k3s')),
    version: 'v4.0.3-12-gabc1234-k3sv1.33.9+k3s1',
  },
  'v2.4.2, unquoted': {
    kairosRelease: [
      'KAIROS_FLAVOR=opensuse',
      'KAIROS_FLAVOR_RELEASE=leap-15.5',
      'KAIROS_VARIANT=standard',
      'KAIROS_FAMILY=opensuse',
      'KAIROS_TARGETARCH=amd64',
      'KAIROS_MODEL=generic',
      'KAIROS_RELEASE=v2.4.2',
      'KAIROS_SOFTWARE_VERSION=v1.26.9+k3s1',
      'KAIROS_SOFTWARE_VERSION_PREFIX=k3s',
      '',
    ].join('\n'),
    version: 'v2.4.2-k3sv1.26.9+k3s1',
  },
  'v3.2.4-36, by versioneer': {
    kairosRelease: versioneer('v3.2.4-36-g24ca209', 'v1.32.0+k3s1', 'k3s'),
    osRelease: UBUNTU,
    version: 'v3.2.4-36-g24ca209-k3sv1.32.0+k3s1',
  },
  'v3.3.1 with k0s, by versioneer': {
    kairosRelease: versioneer('v3.3.1', 'v1.32.1+k0s.0', 'k0s'),
    version: 'v3.3.1-k0sv1.32.1+k0s.0',
  },
  'of old, appended to os-release, the distribution in KAIROS_VERSION only': {
    osRelease: `${UBUNTU}KAIROS_VERSION="v3.2.4-36-g24ca209-v1.32.0-k3s1"\nKAIROS_RELEASE="v3.2.4-36-g24ca209"\n`,
    version: 'v3.2.4-36-g24ca209-k3sv1.32.0+k3s1',
  },
  'of old, appended to os-release by versioneer': {
    osRelease: `${UBUNTU}${versioneer('v3.0.14', 'v1.28.8+k3s1', 'k3s')}`,
    version: 'v3.0.14-k3sv1.28.8+k3s1',
  },
  'of old, appended to os-release, a prefix without a version': {
    osRelease: `${UBUNTU}KAIROS_VERSION="v3.1.1-25-g2a7090f"\nKAIROS_SOFTWARE_VERSION_PREFIX="k3s"\n`,
    version: 'v3.1.1-25-g2a7090f',
  },
  'never released: a bare commit': { kairosRelease: 'KAIROS_VERSION="83c0aef"\n', version: '83c0aef' },
  'built on an older one, which left its own behind in os-release': {
    kairosRelease: kairosInit('v4.0.3'),
    osRelease: `${UBUNTU}KAIROS_VERSION="v3.1.1"\nKAIROS_SOFTWARE_VERSION="v1.28.8+k3s1"\n`,
    version: 'v4.0.3',
  },
  'of which the distribution cannot be read': {
    kairosRelease: kairosInit('v4.0.3', software('v1.33 or so', 'k3s')),
    version: undefined,
  },
};

/** The same file by another hand. */
const SPELLINGS: Record<string, (text: string) => string> = {
  'as it is': (text) => text,
  unquoted: (text) => text.replaceAll(/="([^"\s]*)"/g, '=$1'),
  'single-quoted': (text) => text.replaceAll(/="([^"]*)"/g, "='$1'"),
  'with CRLF': (text) => text.replaceAll('\n', '\r\n'),
  'with a BOM': (text) => `\uFEFF${text}`,
  'with comments': (text) =>
    `# by hand\n\n  # KAIROS_VERSION="v0.0.1"\n${text.replaceAll(/(".*")$/gm, '$1 # said')}# end`,
  'with export': (text) => text.replaceAll(/^(?=\w)/gm, 'export '),
  'indented, with blank lines': (text) => text.replaceAll('\n', '\n\n\t  '),
  'without a newline at its end': (text) => text.trimEnd(),
  'in the other order': (text) => text.trimEnd().split('\n').toReversed().join('\n'),
  'with each line twice': (text) => text.replaceAll(/^(.+)$/gm, '$1\n$1'),
  'with - for +': (text) => text.replaceAll(/(v\d+\.\d+\.\d+(?:-rc\d+)?)\+/g, '$1-'),
  'with the distribution named in its version': (text) =>
    text.replaceAll(/(SOFTWARE_VERSION=")(v[^"]*(k3s|k0s))/g, '$1$3-$2'),
};

describe('the release file of a machine', () => {
  describe.each(Object.entries(SAMPLES))('%s', (_, { kairosRelease, osRelease, version }) => {
    const whole = pickReleaseFields(kairosRelease, osRelease);

    it.each(Object.entries(SPELLINGS))('tells its version %s', (name, spell) => {
      const fields = pickReleaseFields(kairosRelease && spell(kairosRelease), osRelease && spell(osRelease));
      expect(fields && versionOf(fields)).toBe(version);
      const isSameText = !/^with (-|the distribution)/.test(name);
      if (isSameText) expect(fields).toEqual(whole);
      expect(sameVersion(versionOf(fields ?? {}), version)).toBe(version !== undefined);
    });
  });

  it('holds nothing of its own but KAIROS_ names, and three of os-release', () => {
    const fields = pickReleaseFields(kairosInit('v4.0.3'), UBUNTU) ?? {};
    expect(fields).toMatchObject({ ID: 'ubuntu', VERSION_ID: '24.04', PRETTY_NAME: 'Ubuntu 24.04.1 LTS' });
    expect(Object.keys(fields).filter((key) => !key.startsWith('KAIROS_'))).toEqual([
      'ID',
      'VERSION_ID',
      'PRETTY_NAME',
    ]);
  });

  it('says what its limits cost, and nothing where they cost nothing', () => {
    expect(pickRelease(kairosInit('v4.0.3'), UBUNTU).left).toEqual([]);
    const many = Array.from({ length: 100 }, (_, n) => `KAIROS_X${n}=1`).join('\n');
    const { fields, left } = pickRelease(`KAIROS_NAME="${'x'.repeat(1025)}"\n${many}`, 'ID=ubuntu');
    expect(fields?.['KAIROS_NAME']).toBe('x'.repeat(1024));
    expect(left).toEqual([
      'what is beyond 1024 characters of KAIROS_NAME of the release files',
      'KAIROS_X62, KAIROS_X63, KAIROS_X64 and 35 more of the release files',
    ]);
  });
});

/** Tags as published: nothing is derived from them, but two spellings of one version must be seen to be one. */
describe('two spellings of a version in a tag', () => {
  it.each([
    ['v0.0.4-standard-amd64-generic-v4.0.3-k3sv1.33.9-k3s1', 'v4.0.3-k3sv1.33.9+k3s1'],
    ['leap-15.6-standard-amd64-generic-v3.4.2-k3sv1.30.11-k3s1', 'v3.4.2-k3sv1.30.11+k3s1'],
    ['leap-15.6-standard-amd64-generic-v3.5.0-k0s-v1.33.3-k0s.0', 'v3.5.0-k0sv1.33.3+k0s.0'],
    ['22.04-standard-amd64-generic-v3.5.0-k3s-v1.33.2-k3s1', 'v3.5.0-k3sv1.33.2+k3s1'],
    ['22.04-standard-arm64-rpi4-v3.3.1-k3sv1.32.1-k3s1', 'v3.3.1-k3sv1.32.1+k3s1'],
    ['v0.0.4-core-amd64-generic-v4.0.1', 'v4.0.1'],
  ])('%s is %s', (tag, version) => {
    const written = /-(?:generic|rpi4)-(.*)$/.exec(tag)?.[1];
    expect([sameVersion(written, version), sameVersion(version, written)]).toEqual([true, true]);
    expect(sameVersion(written, version.replace(/\d/, '9'))).toBe(false);
  });
});
