import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from '@jest/globals';
import { readDefaults } from '../../watcher/defaults.ts';

it('defaults are read from a file, and refused where only a calendar knows what is wrong', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'kairos-defaults-'));
  const file = path.join(folder, 'strategy.yaml');
  try {
    expect(readDefaults(undefined)).toEqual({});
    writeFileSync(file, 'soak: 2m\nwindows: [{ cron: 0 22 * * *, duration: 2h }]');
    expect(readDefaults(file)).toEqual({ soak: '2m', windows: [{ cron: '0 22 * * *', duration: '2h' }] });
    writeFileSync(file, 'windows: [{ cron: 0 22 * * *, duration: 2h, timeZone: Europe/Nowhere }]');
    expect(() => readDefaults(file)).toThrow(
      /^defaults of spec\.strategy, .*strategy\.yaml: strategy\.windows\[0\]\.timeZone: there is no time zone Europe\/Nowhere/,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
