import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EVIDENCE_SCRIPT } from '../../activities/scripts.ts';
import { readEvidence } from '../../agent/evidence.ts';
import { parseNodeEvidence } from '../../policy/node-evidence.ts';
import { StepContainer } from './step-container.ts';

let container: StepContainer;
beforeEach(() => {
  container = new StepContainer();
});
afterEach(() => container.remove());

describe('a pod that reads the node', () => {
  const CMDLINE = 'BOOT_IMAGE=(loop0)/boot/vmlinuz root=LABEL=COS_PASSIVE cos-img/filename=/cOS/passive.img panic=5';
  const RELEASE = [
    '# what kairos-init writes',
    'KAIROS_ARCH="amd64"',
    'KAIROS_RELEASE="v4.0.3"',
    'KAIROS_SOFTWARE_VERSION="v1.33.9+k3s1"',
    'export KAIROS_SOFTWARE_VERSION_PREFIX=k3s',
    `KAIROS_VERSION='v4.0.3'`,
    '',
  ].join('\n');
  const STAMP = { image: 'i', digest: `sha256:${'a'.repeat(64)}`, rollout: 'rollout/x', sourceBootID: 'boot-0' };

  beforeEach(() => {
    container.write('host/proc/sys/kernel/random/boot_id', 'boot-7\n');
    container.write('host/proc/cmdline', `${CMDLINE}\n`);
    container.write('host/etc/kairos-release', RELEASE);
    container.write('host/etc/kairos-operator/target', `${JSON.stringify(STAMP)}\n`);
  });

  const read = async () => {
    const { code, report } = await container.run(EVIDENCE_SCRIPT).ended;
    expect(code).toBe(0);
    expect(Buffer.byteLength(report)).toBeLessThanOrEqual(4096);
    return { report, evidence: parseNodeEvidence(report) };
  };
  const byAgent = async () => {
    const found = await readEvidence(container.host);
    const sourceBootID = found?.stamp?.sourceBootID;
    return {
      trustedBoot: found?.trustedBoot,
      loaderEntry: found?.loaderEntry,
      bootID: found?.bootID,
      bootState: found?.bootState,
      observedVersion: found?.observedVersion,
      stamp: found?.stamp && (sourceBootID === undefined ? {} : { sourceBootID }),
    };
  };

  it('says what its agent would say', async () => {
    const { evidence } = await read();
    expect(evidence).toMatchObject({
      bootID: 'boot-7',
      bootState: 'passive',
      observedVersion: 'v4.0.3-k3sv1.33.9+k3s1',
      stamp: { sourceBootID: 'boot-0' },
    });
    const { trustedBoot: _none, loaderEntry: _neither, ...expected } = await byAgent();
    expect(evidence).toMatchObject(expected);
  });

  it.each<[string, () => void]>([
    ['without a stamp', () => container.delete('host/etc/kairos-operator/target')],
    ['of which immucore tells the slot', () => sentinels('active_mode')],
    ['in recovery', () => sentinels('recovery_mode')],
    [
      'whose release files are links of the machine',
      () => {
        container.delete('host/etc/kairos-release');
        container.write('host/usr/lib/os-release', 'ID=old\nKAIROS_VERSION="v3.2.4-v1.32.0-k3s1"\n');
        symlinkSync('/usr/lib/os-release', join(container.folder, 'host/etc/os-release'));
      },
    ],
    [
      'that names its release through relative links',
      () => {
        container.delete('host/etc/kairos-release');
        container.write('host/usr/lib/kairos-release', RELEASE);
        symlinkSync('../usr/lib/kairos-release', join(container.folder, 'host/etc/kairos-release'));
      },
    ],
    ['with trusted boot', () => trustedBoot({ LoaderEntrySelected: 'passive+2-1.conf', LoaderDevicePartUUID: 'a' })],
    ['with trusted boot, started from a medium', () => trustedBoot({ LoaderEntrySelected: 'active.conf' })],
    ['with trusted boot, whose firmware says nothing', () => trustedBoot({})],
  ])('says what its agent would say, on a machine %s', async (_, change) => {
    change();
    const expected = await byAgent();
    expect(expected.observedVersion).toBeDefined();
    const { trustedBoot, loaderEntry, bootID, bootState, observedVersion, stamp } = (await read()).evidence ?? {};
    expect({ trustedBoot, loaderEntry, bootID, bootState, observedVersion, stamp }).toEqual(expected);
  });

  function sentinels(...names: string[]): void {
    container.write('host/proc/cmdline', 'console=tty1\n');
    for (const name of names) container.write(`host/run/cos/${name}`, '1\n');
  }

  function trustedBoot(variables: Record<string, string>): void {
    container.write('host/proc/cmdline', 'console=tty1 rd.immucore.uki net.ifnames=1\n');
    container.write('host/run/cos/uki_boot_mode', '1\n');
    for (const [name, text] of Object.entries(variables)) {
      const value = Buffer.concat([Buffer.from([6, 0, 0, 0]), Buffer.from(`${text}\0`, 'utf16le')]);
      container.write(`host/sys/firmware/efi/efivars/${name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f`, value);
    }
  }

  it('keeps to what the API holds, however much a machine has to say', async () => {
    const long = (key: string) => `${key}="${'v'.repeat(5000)}"\n`;
    const many = Array.from({ length: 500 }, (_, index) => `KAIROS_VERSION="v4.${index + 100}${'0'.repeat(126)}"\n`);
    container.write('host/etc/kairos-release', `${many.join('')}${long('KAIROS_RELEASE')}`);
    container.write('host/proc/cmdline', `${CMDLINE} ${'noise '.repeat(3000)}\n`);
    container.write('host/etc/kairos-operator/target', `{"sourceBootID":"${'b'.repeat(5000)}"}\n`);
    for (const name of ['active_mode', 'passive_mode']) container.write(`host/run/cos/${name}`, '1\n');
    const { evidence } = await read();
    expect(evidence).toMatchObject({ bootID: 'boot-7', bootState: 'passive' });
    expect(evidence?.release).not.toHaveProperty('KAIROS_RELEASE');
  });

  it('proves nothing on a machine that is not Kairos', async () => {
    container.write('host/etc/kairos-release', 'ID=debian\n');
    const { report, evidence } = await read();
    expect(evidence).toBeUndefined();
    expect(report).toMatch(/^boot-id boot-7\n/);
  });
});
