import { TRUSTED_BOOT_LABEL } from '../api/names.ts';
import type { KairosNodeAgentStatus } from '../api/types.ts';

/** What is known of how a machine boots. */
export interface BootKnowledge {
  /** What its agent reports of the boot that it is in. */
  status?: Pick<KairosNodeAgentStatus, 'trustedBoot' | 'release' | 'bootState'> | undefined;
  /** Labels of its Node. */
  labels?: Record<string, string> | undefined;
}

/**
 * Whether a machine has trusted boot (UKI): one signed file holds kernel and system, and systemd-boot starts it. What
 * its agent has seen of the boot itself counts first, then the label, which a person or another operator may have set,
 * then what its image was built for. The script of the upgrade looks once more, on the machine, before it does anything.
 */
export function hasTrustedBoot({ status, labels }: BootKnowledge): boolean {
  if (status?.trustedBoot === true) return true;
  const label = labels?.[TRUSTED_BOOT_LABEL];
  if (label === 'true' || label === 'false') return label === 'true';
  return status?.release?.['KAIROS_TRUSTED_BOOT'] === 'true';
}

/** Why a machine with trusted boot is not upgraded like this, or undefined. Continues the sentence "node x: …". */
export function trustedBootRefusal(
  machine: BootKnowledge,
  asked: { excludePaths: readonly string[]; upgradeActive: boolean },
): string | undefined {
  if (!hasTrustedBoot(machine)) return undefined;
  if (asked.excludePaths.length > 0)
    return 'it has trusted boot, where an image is one signed file and nothing of it can be left out: take spec.excludePaths away';
  // kairos-agent makes the active file the passive one whatever was booted: the one that runs would be lost for the one that failed.
  if (asked.upgradeActive && machine.status?.bootState === 'passive')
    return 'it has trusted boot and runs from its passive entry: an upgrade would put the image that did not boot in the place of the one that runs. Bring its active entry back first: on the node, kairos-agent upgrade --boot-entry active --source oci:<an image that boots>, then reboot it, and start the rollout again';
  return undefined;
}
