import { kairosImage, type SimulatedImage } from '../../images.ts';

const REPOSITORY = 'quay.io/kairos/hadron';

/** What the machines run when a scenario begins. */
const OLD = `${REPOSITORY}:v4.0.2`;
/** What they are upgraded to. */
export const NEW = `${REPOSITORY}:v4.0.3`;
export const NEWER = `${REPOSITORY}:v4.0.4`;

const KUBERNETES = 'v1.33.9+k3s1';

/** The version that agents report of such an image. */
export const versionIn = (image: string): string => `${tagOf(image)}-k3s${KUBERNETES}`;

const tagOf = (image: string) => image.slice(REPOSITORY.length + 1);
const made = (image: string, boots = true): SimulatedImage =>
  kairosImage(image, tagOf(image), { kubernetes: KUBERNETES, boots });

/** Images that boot. */
export const GOOD: readonly [SimulatedImage, SimulatedImage, SimulatedImage] = [made(OLD), made(NEW), made(NEWER)];
/** The new image does not boot. */
export const BAD: readonly [SimulatedImage, SimulatedImage] = [made(OLD), made(NEW, false)];
