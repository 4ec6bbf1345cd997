import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UNASSIGNED } from './efi-partition.ts';

/** What the registry of a simulated cluster holds: the few files of an image that an upgrade is judged by. */
export interface SimulatedImage {
  /** Such as `quay.io/kairos/hadron:v4.0.3`. */
  readonly reference: string;
  /** Fields of `/etc/kairos-release`; without them it is not a Kairos image. */
  readonly kairosRelease?: Readonly<Record<string, string>>;
  /** Fields of `/etc/os-release`. */
  readonly osRelease?: Readonly<Record<string, string>>;
  /** Whether it lacks the signed files that one of `KAIROS_TRUSTED_BOOT=true` carries for a machine with trusted boot. */
  readonly unsigned?: boolean;
  /** Whether a machine gets as far as userspace with it. Default true. */
  readonly boots?: boolean;
  /** What a container runtime says when it cannot start a program of it, such as `exec format error`. */
  readonly startError?: string;
}

export interface RegisteredImage {
  readonly reference: string;
  /** `sha256:…`. */
  readonly digest: string;
  /** As containerd tells it in a pod's status: `repository@digest`. */
  readonly imageID: string;
  /** The root of the image. Copies of it are what slots hold. */
  readonly folder: string;
  readonly kairosRelease: Readonly<Record<string, string>> | undefined;
  readonly osRelease: Readonly<Record<string, string>> | undefined;
  /** Whether it carries signed files for a machine with trusted boot. */
  readonly isSigned: boolean;
  readonly startError: string | undefined;
  /** Texts of the files that a pre-pull pod prints. */
  readonly files: Readonly<Partial<Record<'kairos-release' | 'os-release', string>>>;
}

export interface ImageRegistry {
  /** Puts an image in; again under the same reference: the tag moves. */
  add(image: SimulatedImage): RegisteredImage;
  /** By tag or by digest. */
  find(reference: string): RegisteredImage | undefined;
  all(): RegisteredImage[];
  /** From now on, whoever installs the image gets one that boots, or not. Throws for an unknown reference. */
  setBoots(reference: string, boots: boolean): void;
}

/** Left in the root of an image: a machine that starts it panics before userspace. */
export const DOES_NOT_BOOT = '.does-not-boot';

/** A registry whose images are folders below `folder`. */
export function openImageRegistry(folder: string): ImageRegistry {
  const byReference = new Map<string, RegisteredImage>();
  const byDigest = new Map<string, RegisteredImage>();

  function setBoots(image: RegisteredImage, boots: boolean): void {
    const signed = join(image.folder, UNASSIGNED);
    for (const root of [image.folder, ...(image.isSigned ? [signed] : [])]) {
      const mark = join(root, DOES_NOT_BOOT);
      if (boots) rmSync(mark, { force: true });
      else writeFileSync(mark, 'the kernel of this image panics\n');
    }
  }

  return {
    add(image) {
      const registered = describe(folder, image);
      const etc = join(registered.folder, 'etc');
      mkdirSync(etc, { recursive: true });
      for (const [name, text] of Object.entries(registered.files)) writeFileSync(join(etc, name), text);
      // The signed file holds the whole system.
      if (registered.isSigned) cpSync(etc, join(registered.folder, UNASSIGNED, 'etc'), { recursive: true });
      setBoots(registered, image.boots ?? true);
      byReference.set(fullName(image.reference), registered);
      byDigest.set(registered.imageID, registered);
      return registered;
    },
    find: (reference) => byReference.get(fullName(reference)) ?? byDigest.get(fullName(reference)),
    all: () => [...byDigest.values()],
    setBoots(reference, boots) {
      const image = byReference.get(fullName(reference));
      if (image === undefined) {
        throw new Error(`image ${reference} is not in the simulated registry: give it to startCluster in images`);
      }
      setBoots(image, boots);
    },
  };
}

/** A Kairos image with the release files that kairos-init writes, of a version such as `v4.0.3`. */
export function kairosImage(
  reference: string,
  version: string,
  options: {
    readonly kubernetes?: string;
    readonly boots?: boolean;
    readonly trustedBoot?: boolean;
    readonly unsigned?: boolean;
  } = {},
): SimulatedImage {
  const kubernetes = options.kubernetes ?? 'v1.33.9+k3s1';
  return {
    reference,
    kairosRelease: {
      KAIROS_ARCH: 'amd64',
      KAIROS_FAMILY: 'hadron',
      KAIROS_FIPS: 'false',
      KAIROS_FLAVOR: 'hadron',
      KAIROS_FLAVOR_RELEASE: 'v0.0.4',
      KAIROS_ID: 'kairos',
      KAIROS_INIT_VERSION: 'v0.8.4',
      KAIROS_MODEL: 'generic',
      KAIROS_NAME: 'kairos-standard-hadron-v0.0.4',
      KAIROS_RELEASE: version,
      KAIROS_SOFTWARE_VERSION: kubernetes,
      KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
      KAIROS_TARGETARCH: 'amd64',
      KAIROS_TRUSTED_BOOT: String(options.trustedBoot ?? false),
      KAIROS_VARIANT: 'standard',
      KAIROS_VERSION: version,
    },
    osRelease: { ID: 'hadron', VERSION_ID: 'v0.0.4', PRETTY_NAME: 'Hadron v0.0.4' },
    boots: options.boots ?? true,
    ...(options.unsigned === undefined ? {} : { unsigned: options.unsigned }),
  };
}

function describe(folder: string, image: SimulatedImage): RegisteredImage {
  const files = {
    ...(image.kairosRelease === undefined ? {} : { 'kairos-release': releaseText(image.kairosRelease) }),
    ...(image.osRelease === undefined ? {} : { 'os-release': releaseText(image.osRelease) }),
  };
  // The reference belongs to the content: two images of one version stay two images.
  const hash = createHash('sha256')
    .update(JSON.stringify([image.reference, files]))
    .digest('hex');
  const { reference, kairosRelease, osRelease, startError } = image;
  return {
    reference,
    digest: `sha256:${hash}`,
    imageID: `${repositoryOf(fullName(reference))}@sha256:${hash}`,
    folder: join(folder, hash.slice(0, 16)),
    kairosRelease,
    osRelease,
    isSigned: kairosRelease?.['KAIROS_TRUSTED_BOOT'] === 'true' && image.unsigned !== true,
    startError,
    files,
  };
}

function releaseText(fields: Readonly<Record<string, string>>): string {
  const lines = Object.keys(fields)
    .sort()
    .map((key) => `${key}="${fields[key]}"\n`);
  return lines.join('');
}

/** As container runtimes complete a short name: registry docker.io, folder library, tag latest. */
function fullName(reference: string): string {
  const [first = '', ...rest] = reference.split('/');
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const named = hasRegistry ? reference : `docker.io/${rest.length === 0 ? 'library/' : ''}${reference}`;
  if (named.includes('@')) return `${repositoryOf(named)}@${named.slice(named.indexOf('@') + 1)}`;
  return repositoryOf(named) === named ? `${named}:latest` : named;
}

/** Without digest and tag; the colon of a registry's port stays. */
function repositoryOf(name: string): string {
  const untagged = name.split('@')[0] ?? name;
  return untagged.replace(/:[^/:]*$/, '');
}
