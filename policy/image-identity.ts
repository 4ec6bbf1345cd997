import type { Target } from '../api/messages.ts';

/** What the imageID in a pod's status says. Its kind depends on the runtime, and on how the image came to the node. */
interface ImageIdentity {
  /** Digest of the manifest, as the registry knows it, and the repository under which the runtime names it. */
  repository?: { name: string; digest: string };
  /** Digest of the image's configuration: all that is known of an image which was imported from a file. */
  config?: string;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Reads an imageID: `quay.io/x@sha256:…`, `docker-pullable://x@sha256:…`, `sha256:…`, or 64 bare hex digits. */
function readImageID(imageID: string | undefined): ImageIdentity {
  const id = (imageID ?? '').replace(/^[a-z-]+:\/\//, '');
  const [name = '', digest] = id.split('@');
  if (digest !== undefined) return DIGEST.test(digest) && name !== '' ? { repository: { name, digest } } : {};
  const config = /^[0-9a-f]{64}$/.test(id) ? `sha256:${id}` : id;
  return DIGEST.test(config) ? { config } : {};
}

/**
 * The reference by which the pods of later steps name the image that is on the node: by digest, so that a tag that moves
 * meanwhile changes nothing. Only where the runtime names it in the repository that was asked for: it keeps such images
 * under that very reference, and finds them without the registry. Others keep what was asked for.
 */
export function pinnedReference(image: string, imageID: string | undefined): string {
  const { repository } = readImageID(imageID);
  if (image.includes('@') || repository === undefined) return image;
  const wanted = withoutTag(image);
  return fullName(wanted) === fullName(repository.name) ? `${wanted}@${repository.digest}` : image;
}

type Pulled = Pick<Target, 'version' | 'digest' | 'fields' | 'imageID'>;

/**
 * Whether one reference turned out to be two images. Like is compared with like: digests of the registry, or digests of
 * the configuration. Where the runtimes report different kinds, the release files decide.
 */
export function isAnotherImage(known: Pulled, target: Pulled): boolean {
  if (known.version !== target.version) return true;
  const [a, b] = [readImageID(known.imageID), readImageID(target.imageID)];
  if (a.repository !== undefined && b.repository !== undefined) {
    if (a.repository.digest === b.repository.digest) return false;
    if (fullName(a.repository.name) === fullName(b.repository.name)) return true;
  }
  if (a.config !== undefined && b.config !== undefined) return a.config !== b.config;
  const kindsKnown = known.imageID !== undefined && target.imageID !== undefined;
  if (!kindsKnown && known.digest !== undefined && target.digest !== undefined) return known.digest !== target.digest;
  return written(known.fields) !== written(target.fields);
}

const written = (fields: Record<string, string>) =>
  JSON.stringify(
    Object.keys(fields)
      .sort()
      .map((key) => [key, fields[key]]),
  );

/** The colon of a registry's port stays. */
const withoutTag = (image: string) => image.replace(/:[^/:]*$/, '');

/** As runtimes complete a short name: registry docker.io, folder library. */
function fullName(repository: string): string {
  const [first = '', ...rest] = repository.split('/');
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  if (!hasRegistry) return `docker.io/${rest.length === 0 ? 'library/' : ''}${repository}`;
  return repository.replace(/^index\.docker\.io\//, 'docker.io/');
}
