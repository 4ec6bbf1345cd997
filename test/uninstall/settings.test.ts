import { describe, expect, it } from '@jest/globals';
import { readCheckSettings } from '../../check/settings.ts';
import { readUninstallSettings } from '../../uninstall/settings.ts';

describe('the environment of the uninstall program', () => {
  it('has defaults below the time that Helm waits for a hook', () => {
    const expected = { timeoutMs: 240_000, heldNodes: 'refuse', namespace: 'kairos-system' };
    expect(readUninstallSettings({ UNINSTALL_TIMEOUT: '' }, 1)).toMatchObject(expected);
  });

  it('may ask for more time, and for held nodes to be given back', () => {
    const env = { UNINSTALL_TIMEOUT: '1h30m', UNINSTALL_HELD_NODES: 'give-back' };
    expect(readUninstallSettings(env, 1)).toMatchObject({ timeoutMs: 5_400_000, heldNodes: 'give-back' });
  });

  it.each([
    ['UNINSTALL_TIMEOUT', 'soon', /UNINSTALL_TIMEOUT=soon: a duration such as 90s, 4m or 1h30m/],
    ['UNINSTALL_TIMEOUT', '0s', /UNINSTALL_TIMEOUT=0s: a duration/],
    ['UNINSTALL_TIMEOUT', '5', /UNINSTALL_TIMEOUT=5: a duration/],
    ['UNINSTALL_HELD_NODES', 'yes', /UNINSTALL_HELD_NODES=yes: refuse or give-back/],
    ['KAIROS_NAMESPACE', 'No', /KAIROS_NAMESPACE=No/],
  ])('refuses %s=%s by name', (name, value, expected) => {
    expect(() => readUninstallSettings({ [name]: value }, 1)).toThrow(expected);
  });
});

describe('the environment of the check', () => {
  it.each([
    [undefined, 60_000],
    ['', 60_000],
    ['5m', 300_000],
  ])('CHECK_TIMEOUT=%s', (value, expected) => {
    expect(readCheckSettings({ CHECK_TIMEOUT: value }, 1).timeoutMs).toBe(expected);
  });

  it.each(['soon', '0s'])('refuses CHECK_TIMEOUT=%s by name', (value) => {
    expect(() => readCheckSettings({ CHECK_TIMEOUT: value }, 1)).toThrow(/CHECK_TIMEOUT=.*: a duration/);
  });
});
