import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { parseReleaseFile, pickReleaseFields, sameVersion, versionOf } from '../../policy/release.ts';

/** As kairos-init v0.8.4 writes it for Kairos v4.0.3 with k3s. */
const HADRON = `
KAIROS_ARCH="amd64"
KAIROS_BUG_REPORT_URL="https://github.com/kairos-io/kairos/issues"
KAIROS_FAMILY="hadron"
KAIROS_FIPS="false"
KAIROS_FLAVOR="hadron"
KAIROS_FLAVOR_RELEASE="v0.0.4"
KAIROS_HOME_URL="https://github.com/kairos-io/kairos"
KAIROS_ID="kairos"
KAIROS_ID_LIKE="kairos-core-hadron-v0.0.4"
KAIROS_INIT_VERSION="v0.8.4"
KAIROS_MODEL="generic"
KAIROS_NAME="kairos-core-hadron-v0.0.4"
KAIROS_RELEASE="v4.0.3"
KAIROS_SOFTWARE_VERSION="v1.32.4+k3s1"
KAIROS_SOFTWARE_VERSION_PREFIX="k3s"
KAIROS_TARGETARCH="amd64"
KAIROS_TRUSTED_BOOT="false"
KAIROS_VARIANT="core"
KAIROS_VERSION="v4.0.3"
`;

describe('a release file', () => {
  it.each<[string, string, Record<string, string>]>([
    ['double quotes', 'A="x y"', { A: 'x y' }],
    ['single quotes', `A='x "$y" \\'`, { A: 'x "$y" \\' }],
    ['no quotes', 'A=x-1.2', { A: 'x-1.2' }],
    ['an empty value', 'A=\nB=""', { A: '', B: '' }],
    ['escapes in double quotes', String.raw`A="a\"b\\c\$d\n"`, { A: String.raw`a"b\c$d\n` }],
    ['escapes without quotes', String.raw`A=a\ b\"c`, { A: 'a b"c' }],
    ['parts in a row', `A=a"b c"'d e'f`, { A: 'ab cd ef' }],
    ['nothing expanded', 'A="$HOME `id` $(id)"', { A: '$HOME `id` $(id)' }],
    ['comments', '# A=1\n  # B=2\nC=3 # D=4\nE="#5"', { C: '3', E: '#5' }],
    ['CRLF', 'A="1"\r\nB=2\r\n', { A: '1', B: '2' }],
    ['bare CR', 'A=1\rB=2', { A: '1', B: '2' }],
    ['a BOM', '\uFEFFA=1\nB=2', { A: '1', B: '2' }],
    ['no newline at the end', 'A=1\nB="2"', { A: '1', B: '2' }],
    ['export and leading blanks', '  export A=1\n\tB=2', { A: '1', B: '2' }],
    ['two on a line', 'A="1"   B="2"', { A: '1', B: '2' }],
    ['a key twice: the last one holds, as in the shell', 'A=1\nA=2', { A: '2' }],
    ['a quote that is not closed: no other line is lost', 'A="1\nB=2', { B: '2' }],
    ['lines that are no assignments', 'nonsense\n=1\n1A=2\nA-B=3\nC =4\nD=5', { D: '5' }],
    ['values with =', 'A=b=c', { A: 'b=c' }],
    ['nothing', '', {}],
    ['a letter beyond ASCII', 'A="Größe 木"', { A: 'Größe 木' }],
  ])('with %s', (_, text, expected) => {
    expect(parseReleaseFile(text)).toEqual(expected);
  });

  it('may hold keys that every object has', () => {
    const fields = parseReleaseFile('__proto__=x\nconstructor=y\ntoString=z');
    expect(Object.entries(fields)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
      ['toString', 'z'],
    ]);
    expect('toString' in {} && 'x' in {}).toBe(false);
  });

  it('is read up to a limit, and never half a value', () => {
    const line = `A="${'x'.repeat(70)}"\n`;
    expect(parseReleaseFile(`${line.repeat(2000)}B=1`)).toEqual({ A: 'x'.repeat(70) });
    expect(parseReleaseFile(`A=${'x'.repeat(1_000_000)}`)).toEqual({});
    const many = Array.from({ length: 9000 }, (_, n) => `K${n}=1`).join('\n');
    expect(Object.keys(parseReleaseFile(many))).toHaveLength(1024);
  });

  it('crashes nobody, whatever is in it', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary', maxLength: 400 }), fc.string({ unit: hostile(), maxLength: 60 })),
        (text) => {
          const fields = parseReleaseFile(text);
          expect(Object.keys(fields).every((key) => /^[A-Za-z_]\w*$/.test(key))).toBe(true);
          pickReleaseFields(text, text);
          versionOf(fields);
        },
      ),
    );
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, n) => (n * 7919) % 256)).toString('utf8');
    expect(() => pickReleaseFields(bytes, bytes)).not.toThrow();
  });

  it('gives back what a shell would have been told', () => {
    const quote = (value: string) => `"${value.replaceAll(/["\\$`]/g, String.raw`\$&`)}"`;
    const single = (value: string) => `'${value.replaceAll("'", String.raw`'\''`)}'`;
    const line = fc.string({ maxLength: 40 }).filter((value) => !/[\r\n]/.test(value));
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,10}$/), line), (fields) => {
        for (const write of [quote, single]) {
          const text = Object.entries(fields).map(([key, value]) => `${key}=${write(value)}`);
          expect(parseReleaseFile(text.join('\n'))).toEqual({ ...fields });
        }
      }),
    );
  });

  it('of hostile form is read in linear time', () => {
    const started = performance.now();
    for (const text of ['"', "'", '\\', 'A=', 'A="', ' ', '\t=', 'export '].map((part) => part.repeat(60_000))) {
      parseReleaseFile(text);
    }
    for (const part of ['-v1.1.1', 'v1.0.0-rc1-', 'k3s-', 'a', '-']) versionOf({ KAIROS_VERSION: part.repeat(30) });
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe('the fields of a machine', () => {
  it('are those of kairos-release and three of os-release', () => {
    const fields = pickReleaseFields(
      HADRON,
      'ID=hadron\nVERSION_ID="v0.0.4"\nPRETTY_NAME="Hadron"\nHOME_URL=x\nNAME=y',
    );
    expect(fields).toEqual({ ...parseReleaseFile(HADRON), ID: 'hadron', VERSION_ID: 'v0.0.4', PRETTY_NAME: 'Hadron' });
  });

  it('come from os-release where there is no kairos-release, or none of use', () => {
    const old = 'ID=ubuntu\nKAIROS_VERSION="v3.1.1-25-g2a7090f"\nKAIROS_SOFTWARE_VERSION_PREFIX="k3s"\nNAME=Ubuntu';
    const expected = { ID: 'ubuntu', KAIROS_VERSION: 'v3.1.1-25-g2a7090f', KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' };
    expect(pickReleaseFields(undefined, old)).toEqual(expected);
    expect(pickReleaseFields('# nothing\n', old)).toEqual(expected);
  });

  it('are never mixed from both: an older image below may have left its own behind', () => {
    const fields = pickReleaseFields('KAIROS_VERSION=v4.0.3', 'KAIROS_RELEASE=v3.1.1\nID=ubuntu');
    expect(fields).toEqual({ KAIROS_VERSION: 'v4.0.3', ID: 'ubuntu' });
  });

  it.each([
    ['no file', undefined, undefined],
    ['empty files', '', ''],
    ['a plain distribution', undefined, 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04"'],
    ['an empty KAIROS_ field', 'KAIROS_VERSION=""', 'ID=ubuntu'],
    ['only a comment about Kairos', '# KAIROS_VERSION=v1', 'ID=ubuntu'],
  ])('are undefined with %s: that is no Kairos machine', (_, kairosRelease, osRelease) => {
    expect(pickReleaseFields(kairosRelease, osRelease)).toBeUndefined();
  });

  it('keep the limits of the resource, and what decides about an upgrade', () => {
    const flood = Array.from({ length: 500 }, (_, n) => `KAIROS_X${n}=${'x'.repeat(100)}`).join('\n');
    const fields =
      pickReleaseFields(`${flood}\nKAIROS_VERSION=v4.0.3\nKAIROS_NAME="${'😀'.repeat(2000)}"`, 'ID=hadron') ?? {};
    expect(Object.keys(fields)).toHaveLength(64);
    expect(fields).toMatchObject({ KAIROS_VERSION: 'v4.0.3', ID: 'hadron' });
    const long = pickReleaseFields(`KAIROS_NAME="x${'😀'.repeat(2000)}"\nKAIROS_ID="a\u0007\u001b[31mb"`) ?? {};
    expect(long['KAIROS_NAME']).toHaveLength(1024);
    expect(long['KAIROS_NAME']?.isWellFormed()).toBe(true);
    expect(long['KAIROS_ID']).toBe('a  [31mb');
  });
});

describe('the version', () => {
  it.each<[string, string | undefined, Record<string, string>]>([
    ['of v4.0.3 with k3s', 'v4.0.3-k3sv1.32.4+k3s1', parseReleaseFile(HADRON)],
    ['of a core image', 'v4.0.3', { KAIROS_RELEASE: 'v4.0.3', KAIROS_VERSION: 'v4.0.3', KAIROS_VARIANT: 'core' }],
    [
      'of v4.0.3 with a newer k3s',
      'v4.0.3-k3sv1.33.9+k3s1',
      { KAIROS_VERSION: 'v4.0.3', KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1', KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' },
    ],
    [
      'with k0s',
      'v3.5.0-k0sv1.33.3+k0s.0',
      { KAIROS_RELEASE: 'v3.5.0', KAIROS_SOFTWARE_VERSION: 'v1.33.3+k0s.0', KAIROS_SOFTWARE_VERSION_PREFIX: 'k0s' },
    ],
    [
      'of an old image, which names the distribution in KAIROS_VERSION',
      'v3.2.4-36-g24ca209-k3sv1.32.0+k3s1',
      { KAIROS_VERSION: 'v3.2.4-36-g24ca209-v1.32.0-k3s1', KAIROS_RELEASE: 'v3.2.4-36-g24ca209' },
    ],
    [
      'of an old image without KAIROS_RELEASE',
      'v3.2.4-36-g24ca209-k3sv1.32.0+k3s1',
      { KAIROS_VERSION: 'v3.2.4-36-g24ca209-v1.32.0-k3s1' },
    ],
    [
      'of an old image with all of it: the distribution is named once',
      'v3.2.4-36-g24ca209-k3sv1.32.0+k3s1',
      {
        KAIROS_VERSION: 'v3.2.4-36-g24ca209-v1.32.0-k3s1',
        KAIROS_RELEASE: 'v3.2.4-36-g24ca209',
        KAIROS_SOFTWARE_VERSION: 'v1.32.0+k3s1',
        KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
      },
    ],
    [
      'of an older image, with a prefix and no software version',
      'v3.1.1-25-g2a7090f',
      { KAIROS_VERSION: 'v3.1.1-25-g2a7090f', KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' },
    ],
    ['that is a bare commit', '83c0aef', { KAIROS_VERSION: '83c0aef' }],
    [
      'that is a bare commit with k3s',
      '83c0aef-k3sv1.33.9+k3s1',
      { KAIROS_VERSION: '83c0aef', KAIROS_SOFTWARE_VERSION: 'v1.33.9+k3s1', KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' },
    ],
    [
      'with a software version that lacks its v',
      'v4.0.3-k3sv1.33.9+k3s1',
      { KAIROS_VERSION: 'v4.0.3', KAIROS_SOFTWARE_VERSION: '1.33.9-k3s1', KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' },
    ],
    [
      'with a software version that names its prefix',
      'v4.0.3-k3sv1.33.9+k3s1',
      { KAIROS_VERSION: 'v4.0.3', KAIROS_SOFTWARE_VERSION: 'k3s-v1.33.9+k3s1', KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s' },
    ],
    [
      'with a software version of another form',
      'v4.0.3-rke2main',
      { KAIROS_VERSION: 'v4.0.3', KAIROS_SOFTWARE_VERSION: 'main', KAIROS_SOFTWARE_VERSION_PREFIX: 'rke2' },
    ],
    [
      'with a release candidate of both',
      'v4.1.0-rc1-k3sv1.34.0-rc2+k3s1',
      {
        KAIROS_VERSION: 'v4.1.0-rc1',
        KAIROS_SOFTWARE_VERSION: 'v1.34.0-rc2+k3s1',
        KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
      },
    ],
    ['of KAIROS_RELEASE first', 'v4.0.3', { KAIROS_RELEASE: 'v4.0.3', KAIROS_VERSION: 'v9.9.9' }],
    ['unknown without fields', undefined, {}],
    ['unknown where only os-release speaks', undefined, { ID: 'ubuntu', VERSION_ID: '24.04' }],
    [
      'unknown where only the artifact or label has a version',
      undefined,
      { KAIROS_IMAGE_LABEL: 'v4.0.3', KAIROS_NAME: 'v1' },
    ],
    ['unknown where it is no word', undefined, { KAIROS_VERSION: 'v1 or v2\u0000' }],
    ['unknown where it is longer than the resource holds', undefined, { KAIROS_VERSION: 'v'.repeat(201) }],
  ])('%s', (_, expected, fields) => {
    expect(versionOf(fields)).toBe(expected);
  });
});

describe('two versions', () => {
  it.each([
    ['v4.0.3-k3sv1.33.9+k3s1', 'v4.0.3-k3sv1.33.9-k3s1'],
    ['v3.5.0-k0sv1.33.3+k0s.0', 'v3.5.0-k0s-v1.33.3-k0s.0'],
    ['v3.5.0-k3sv1.33.2+k3s1', 'v3.5.0-k3s-v1.33.2-k3s1'],
    ['v3.3.1-k3sv1.32.1+k3s1', 'v3.3.1-k3sv1.32.1-k3s1'],
    ['v3.4.2-k3sv1.30.11+k3s1', 'v3.4.2-k3sv1.30.11-k3s1'],
    ['v3.2.4-36-g24ca209-k3sv1.32.0+k3s1', 'v3.2.4-36-g24ca209-v1.32.0-k3s1'],
    ['v4.1.0-rc1-k3sv1.34.0-rc2+k3s1', 'v4.1.0-rc1-k3sv1.34.0-rc2-k3s1'],
    ['v4.0.1', 'v4.0.1'],
    ['83c0aef', '83c0aef'],
  ])('%s and %s are the same', (a, b) => {
    expect([sameVersion(a, b), sameVersion(b, a)]).toEqual([true, true]);
  });

  it.each([
    ['v4.0.3-k3sv1.33.9+k3s1', 'v4.0.3-k3sv1.33.9+k3s2'],
    ['v4.0.3-k3sv1.33.9+k3s1', 'v4.0.3-k3sv1.33.8+k3s1'],
    ['v4.0.3-k3sv1.33.9+k3s1', 'v4.0.3'],
    ['v4.0.3-k3sv1.33.9+k3s1', 'v4.0.3-k0sv1.33.9+k0s.1'],
    ['v4.0.3-k3sv1.34.0-rc1+k3s1', 'v4.0.3-k3sv1.34.0+k3s1'],
    ['v4.0.3+a', 'v4.0.3-a'],
    ['v3.2.4-36-g24ca209', 'v3.2.4'],
    ['83c0aef', '83c0aee'],
  ])('%s and %s are not', (a, b) => {
    expect([sameVersion(a, b), sameVersion(b, a)]).toEqual([false, false]);
  });

  it('that are unknown are never the same', () => {
    expect([sameVersion(undefined, undefined), sameVersion('', ''), sameVersion('v1', undefined)]).toEqual([
      false,
      false,
      false,
    ]);
  });

  const number = fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99)).map((parts) => `v${parts.join('.')}`);
  const base = fc.oneof(
    number,
    fc.stringMatching(/^[0-9a-f]{7}$/),
    fc.tuple(number, fc.nat(300), fc.stringMatching(/^[0-9a-f]{7}$/)).map(([v, n, sha]) => `${v}-${n}-g${sha}`),
    fc.tuple(number, fc.nat(9)).map(([v, n]) => `${v}-rc${n}`),
  );
  const distribution = fc
    .tuple(fc.constantFrom('k3s', 'k0s'), number, fc.constantFrom('', '-rc1', '-alpha.2'), fc.nat(9))
    .map(([prefix, v, pre, n]) => ({ prefix, software: `${v}${pre}+${prefix === 'k3s' ? `k3s${n}` : `k0s.${n}`}` }));

  it('written from the same fields are the same in every spelling', () => {
    fc.assert(
      fc.property(base, distribution, (release, { prefix, software }) => {
        const fields = {
          KAIROS_RELEASE: release,
          KAIROS_SOFTWARE_VERSION: software,
          KAIROS_SOFTWARE_VERSION_PREFIX: prefix,
        };
        const triple = `${release}-${prefix}${software}`;
        const dashed = software.replace('+', '-');
        expect(versionOf(fields)).toBe(triple);
        expect(versionOf({ KAIROS_VERSION: `${release}-${dashed}` })).toBe(triple);
        for (const other of [
          triple,
          `${release}-${prefix}${dashed}`,
          `${release}-${prefix}-${dashed}`,
          `${release}-${dashed}`,
        ]) {
          expect([sameVersion(triple, other), sameVersion(other, triple)]).toEqual([true, true]);
        }
        expect(sameVersion(triple, release)).toBe(false);
      }),
    );
  });

  it('of different fields are different', () => {
    const both = fc.tuple(base, distribution).map(([release, d]) => `${release}-${d.prefix}${d.software}`);
    fc.assert(fc.property(both, both, (a, b) => sameVersion(a, b) === (a === b)));
  });

  it('compare like equality does, whatever they are', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (a, b) => {
        expect(sameVersion(a, a)).toBe(true);
        expect(sameVersion(a, b)).toBe(sameVersion(b, a));
      }),
    );
  });
});

/** The letters of which surprising release files are made. */
function hostile() {
  return fc.constantFrom(
    'KAIROS_VERSION',
    'ID',
    '=',
    '"',
    "'",
    '\\',
    '$',
    '`',
    '#',
    ' ',
    '\n',
    '\r',
    '\0',
    '-',
    '+',
    'v1.2.3',
    'k3s1',
  );
}
