import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FORCED_REBOOT_SCRIPT, REBOOT_SCRIPT } from '../../activities/scripts.ts';
import { StepContainer } from './step-container.ts';

let container: StepContainer;
beforeEach(() => {
  container = new StepContainer();
});
afterEach(() => container.remove());

describe('the reboot', () => {
  const reboot = async () => container.run(REBOOT_SCRIPT).ended;

  it('is asked for in the boot that it was made for', async () => {
    expect((await reboot()).code).toBe(0);
    expect(container.calls()).toEqual(['reboot']);
  });

  it('is done once, however often it is repeated', async () => {
    await reboot();
    container.boot('boot-2');
    for (const _ of [1, 2])
      expect(await reboot()).toMatchObject({ code: 0, output: expect.stringMatching(/boot boot-2 already/) });
    expect(container.calls()).toEqual(['reboot']);
  });

  it('is not asked for where the boot cannot be read, and is tried again', async () => {
    container.write(
      'bin/nsenter',
      '#!/bin/sh\ncase "$*" in *reboot*) echo reboot >> "$STUBS/calls" ;; *) exit 1 ;; esac\n',
    );
    expect((await reboot()).code).toBe(1);
    expect(container.calls()).toEqual([]);
  });
});

describe('the forced reboot', () => {
  const force = async () => container.run(FORCED_REBOOT_SCRIPT).ended;

  it('brings to the disk what it can, and is asked for twice, the second time of the kernel', async () => {
    expect((await force()).code).toBe(0);
    expect(container.calls()).toEqual(['sync', 'reboot -f', 'reboot -f -f']);
  });

  it('does not wait for a file system that hangs', async () => {
    container.write('stubs/sync-hangs', '');
    const running = container.run(FORCED_REBOOT_SCRIPT);
    await container.until(() => container.calls('reboot -f -f').length === 1);
    container.delete('stubs/sync-hangs');
    expect((await running.ended).code).toBe(0);
  });

  it('is done in the boot that it was made for only', async () => {
    container.boot('boot-2');
    expect(await force()).toMatchObject({ code: 0, output: expect.stringMatching(/boot boot-2 already/) });
    expect(container.calls()).toEqual([]);
  });
});
