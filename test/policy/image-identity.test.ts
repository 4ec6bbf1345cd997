import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { isAnotherImage, pinnedReference } from '../../policy/image-identity.ts';

const A = `sha256:${'a'.repeat(64)}`;
const B = `sha256:${'b'.repeat(64)}`;
const TAG = 'quay.io/kairos/hadron:v4.0.3';

describe('the pods of later steps name an image', () => {
  it.each<[string, string, string | undefined, string]>([
    ['by the digest that containerd or CRI-O tells', TAG, `quay.io/kairos/hadron@${A}`, `quay.io/kairos/hadron@${A}`],
    ['by that of Docker', TAG, `docker-pullable://quay.io/kairos/hadron@${A}`, `quay.io/kairos/hadron@${A}`],
    ['as it was written, where it names a digest', `${TAG}@${A}`, `quay.io/kairos/hadron@${B}`, `${TAG}@${A}`],
    ['by its short name', 'hadron:v4', `docker.io/library/hadron@${A}`, `hadron@${A}`],
    ['by a name of Docker Hub', 'kairos/hadron', `docker.io/kairos/hadron@${A}`, `kairos/hadron@${A}`],
    ['with the port of its registry', 'reg:5000/os:1', `reg:5000/os@${A}`, `reg:5000/os@${A}`],
    ['by its tag, where it was imported from a file', TAG, A, TAG],
    ['by its tag, where the runtime tells a bare id', TAG, 'a'.repeat(64), TAG],
    ['by its tag, where the runtime has it under another name, too', TAG, `mirror.local/os@${A}`, TAG],
    ['by its tag, where nothing is told', TAG, undefined, TAG],
    ['by its tag, where nonsense is told', TAG, 'quay.io/kairos/hadron@sha256:abc', TAG],
  ])('%s', (_, image, imageID, pinned) => {
    expect(pinnedReference(image, imageID)).toBe(pinned);
  });
});

const pulled = (imageID: string | undefined, more: object = {}) => ({
  version: 'v4.0.3',
  fields: { KAIROS_RELEASE: 'v4.0.3', KAIROS_MODEL: 'generic' },
  ...(imageID === undefined ? {} : { imageID, digest: /sha256:\w+/.exec(imageID)?.[0] ?? '' }),
  ...more,
});
const other = { fields: { KAIROS_RELEASE: 'v4.0.3', KAIROS_MODEL: 'rpi4' } };

describe('one reference is another image', () => {
  it.each<[string, ReturnType<typeof pulled>, ReturnType<typeof pulled>, boolean]>([
    ['not by the same digest', pulled(`r/o@${A}`), pulled(`r/o@${A}`), false],
    ['by another digest of its registry', pulled(`r.io/o@${A}`), pulled(`r.io/o@${B}`), true],
    ['by another configuration', pulled(A), pulled(B), true],
    ['not by the same configuration', pulled(A), pulled('a'.repeat(64)), false],
    ['by another version, whatever its digest', pulled(A), pulled(A, { version: 'v5' }), true],
    ['not by digests of two kinds, where its release files are the same', pulled(`r.io/o@${A}`), pulled(B), false],
    ['by digests of two kinds, where its release files differ', pulled(`r.io/o@${A}`), pulled(B, other), true],
    ['not by the digests of two repositories', pulled(`r.io/o@${A}`), pulled(`s.io/o@${B}`), false],
    ['by its release files, where nothing else is known', pulled(undefined), pulled(undefined, other), true],
    [
      'by the digest alone, as waves from before compare',
      pulled(undefined, { digest: A }),
      pulled(undefined, { digest: B }),
      true,
    ],
  ])('%s', (_, known, target, expected) => {
    expect(isAnotherImage(known, target)).toBe(expected);
    expect(isAnotherImage(target, known)).toBe(expected);
  });

  it('never for what is the same', () => {
    const id = fc.option(fc.oneof(fc.constantFrom(A, `r.io/o@${A}`, 'x'), fc.string()), { nil: undefined });
    fc.assert(fc.property(id, (imageID) => !isAnotherImage(pulled(imageID), pulled(imageID))));
  });
});
