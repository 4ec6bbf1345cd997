/** Why a pull cannot succeed, however long it is waited for. The names are those of the failures of a pre-pull. */
export type HopelessPull = 'PrePullFailed' | 'NotAKairosImage' | 'WrongArchitecture';

/** Reasons with which a kubelet says that asking again changes nothing. */
const NEVER_MENDS: ReadonlySet<string> = new Set(['InvalidImageName', 'ErrImageNeverPull']);

/** Reasons of a container that a runtime could not make, or whose program it could not start. */
const NOT_STARTED: ReadonlySet<string> = new Set([
  'CreateContainerError',
  'RunContainerError',
  'StartError',
  'ContainerCannotRun',
]);

/**
 * What a container of a pre-pull says when its image is wrong: the reason and the message of its state, be it `waiting`
 * or `terminated`. Undefined where the pull may still succeed. Its program is `cp`, which every Kairos image has.
 */
export function hopelessPull({
  reason = '',
  message = '',
}: {
  reason?: string;
  message?: string;
}): HopelessPull | undefined {
  if (NEVER_MENDS.has(reason)) return 'PrePullFailed';
  if (/exec format error/i.test(message)) return 'WrongArchitecture';
  // What containerd, and Docker, say of an image that has no manifest for the machine.
  if (/no match for platform|no matching manifest for/i.test(message)) return 'WrongArchitecture';
  const lacksProgram = /\bcp\b.*(not found|no such file or directory)/is.test(message);
  return NOT_STARTED.has(reason) && lacksProgram ? 'NotAKairosImage' : undefined;
}
