import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NodeOpUpgradeSpec } from '../../api/types.ts';
import { writeNode } from '../../kube/nodes.ts';
import { NEWER, type Stage } from './stage.ts';

/** For nodes that come back; one that falls back starts several kernels. */
export const PATIENT = { reboot: { timeout: '40s' } };
/** For nodes of which something never comes. */
const SHORT = { reboot: { timeout: '10s' } };

/** What is done to a node, and to its machine, while its upgrade goes on. */
export interface Case {
  node: string;
  image?: string;
  strategy?: NonNullable<NodeOpUpgradeSpec['strategy']>;
  before?: () => unknown;
  meanwhile?: () => Promise<unknown>;
}

/** One node for each verdict, by what it is called. The stage is asked for when a case runs. */
export function verdictCases(stage: () => Stage): Record<string, Case> {
  const machine = (node: string) => stage().cluster.machine(node);
  const slot = (node: string, name: 'active' | 'passive', ...path: string[]) =>
    join(machine(node).folder, 'slots', name, ...path);

  /** Changes the disk of a machine between the writing of its image and the boot of it. */
  async function atPowerOff(node: string, change: () => void): Promise<void> {
    await stage().until(
      `${node} is off`,
      () => machine(node).power,
      (power) => power === 'off',
      90_000,
    );
    change();
    stage().cluster.release(node);
  }

  const held = (node: string) => stage().cluster.holdDown(node, { at: 'power-off' });

  const drainIsHeld = (node: string) =>
    stage().until(
      `the drain of ${node} is held`,
      () => stage().kairosNode(node).status.message ?? '',
      (text) => text.includes('held by PodDisruptionBudget'),
      90_000,
    );

  return {
    succeeded: { node: 'worker-1' },
    passive: { node: 'worker-2', image: NEWER, before: () => stage().cluster.makeImageBad(NEWER) },
    recovery: {
      node: 'worker-3',
      before: () => {
        machine('worker-3').faults.kubernetesInRecovery = true;
        held('worker-3');
      },
      meanwhile: () =>
        atPowerOff('worker-3', () => {
          for (const name of ['active', 'passive'] as const) rmSync(slot('worker-3', name), { recursive: true });
        }),
    },
    'other-version': {
      node: 'worker-4',
      before: () => held('worker-4'),
      meanwhile: () =>
        atPowerOff('worker-4', () => {
          rmSync(slot('worker-4', 'active'), { recursive: true });
          cpSync(slot('worker-4', 'passive'), slot('worker-4', 'active'), { recursive: true });
        }),
    },
    'other-stamp': {
      node: 'worker-5',
      before: () => held('worker-5'),
      meanwhile: () =>
        atPowerOff('worker-5', () => {
          const file = slot('worker-5', 'active', 'etc/kairos-operator/target');
          const stamp = JSON.parse(readFileSync(file, 'utf8')) as object;
          writeFileSync(file, JSON.stringify({ ...stamp, sourceBootID: 'a-boot-before' }));
        }),
    },
    'no-reboot': {
      node: 'worker-6',
      strategy: SHORT,
      before: () => {
        machine('worker-6').faults.reboot = 'ignored';
      },
    },
    hangs: {
      node: 'worker-7',
      strategy: { reboot: { timeout: '12s' } },
      before: () => {
        machine('worker-7').faults.reboot = 'hangs';
      },
    },
    gone: { node: 'worker-8', strategy: SHORT, before: () => held('worker-8') },
    deleted: {
      node: 'worker-9',
      before: () => held('worker-9'),
      meanwhile: async () => {
        await stage().until(
          'worker-9 is off',
          () => machine('worker-9').power,
          (power) => power === 'off',
          90_000,
        );
        await stage().cluster.removeNode('worker-9');
      },
    },
    'no-agent': {
      node: 'worker-10',
      strategy: SHORT,
      before: () => {
        machine('worker-10').faults.noAgent = true;
      },
    },
    unreadable: {
      node: 'worker-11',
      strategy: SHORT,
      before: () => {
        machine('worker-11').faults.noAgent = true;
        held('worker-11');
      },
      meanwhile: () =>
        atPowerOff('worker-11', () => {
          for (const name of ['kairos-release', 'os-release']) rmSync(slot('worker-11', 'active', 'etc', name));
        }),
    },
    'agent-fails': {
      node: 'worker-12',
      before: () => {
        machine('worker-12').faults.upgradeFails = 'no space left on device';
      },
    },
    'out-of-memory': {
      node: 'worker-13',
      before: () => {
        machine('worker-13').faults.upgradeOutOfMemory = true;
      },
    },
    drain: {
      node: 'worker-14',
      strategy: { ...PATIENT, drain: { timeout: '3s' } },
      before: () => stage().holdDrain('worker-14'),
    },
    cancelled: {
      node: 'worker-15',
      before: () => stage().holdDrain('worker-15'),
      meanwhile: async () => {
        await drainIsHeld('worker-15');
        await stage().temporalCLI('workflow', 'cancel', '--workflow-id', stage().rolloutID('cancelled'));
      },
    },
    skipped: {
      node: 'worker-16',
      strategy: { ...PATIENT, gateTimeout: '3s' },
      before: () => writeNode(stage().client, 'worker-16', { unschedulable: true }),
    },
  };
}
