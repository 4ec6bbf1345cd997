import { describe, expect, it } from '@jest/globals';
import { hopelessPull } from '../../policy/pull-trouble.ts';

describe('a pull', () => {
  it.each<[string, string, string, string | undefined]>([
    ['may succeed after an error', 'ErrImagePull', 'rpc error: dial tcp: i/o timeout', undefined],
    ['may succeed after a back-off', 'ImagePullBackOff', 'Back-off pulling image "x"', undefined],
    ['may succeed where the tag is not there yet', 'ErrImagePull', 'manifest unknown: not found', undefined],
    ['may begin', 'ContainerCreating', '', undefined],
    ['never succeeds by a name that is none', 'InvalidImageName', 'Failed to apply default image tag', 'PrePullFailed'],
    ['never succeeds where none is to be made', 'ErrImageNeverPull', 'image is not present', 'PrePullFailed'],
    [
      'is of an image without its program (runc)',
      'StartError',
      'failed to create containerd task: exec: "cp": executable file not found in $PATH: unknown',
      'NotAKairosImage',
    ],
    [
      'is of an image without its program (crun)',
      'CreateContainerError',
      'executable file `cp` not found in $PATH: No such file or directory',
      'NotAKairosImage',
    ],
    [
      'is of an image without the loader of its program',
      'RunContainerError',
      'exec: "/bin/cp": stat /bin/cp: no such file or directory',
      'NotAKairosImage',
    ],
    [
      'may succeed where the runtime lacks a file of its own',
      'CreateContainerError',
      'failed to mount /var/lib/x: no such file or directory',
      undefined,
    ],
    ['is of another architecture', 'StartError', 'exec /bin/cp: exec format error', 'WrongArchitecture'],
    ['is of another architecture, said by cp itself', 'Error', 'exec /bin/cp: exec format error', 'WrongArchitecture'],
    [
      'has no manifest for the machine (containerd)',
      'ErrImagePull',
      'no match for platform in manifest: not found',
      'WrongArchitecture',
    ],
    [
      'has no manifest for the machine (Docker)',
      'ErrImagePull',
      'no matching manifest for linux/arm64 in the manifest list entries',
      'WrongArchitecture',
    ],
  ])('%s', (_, reason, message, expected) => {
    expect(hopelessPull({ reason, message })).toBe(expected);
  });

  it('that says nothing may succeed', () => {
    expect(hopelessPull({})).toBeUndefined();
  });
});
