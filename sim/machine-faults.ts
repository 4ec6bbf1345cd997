/** What is wrong with a machine; changed at any time, and asked when it matters. */
export interface Faults {
  /**
   * `ignored`: a reboot that is asked for does nothing. `hangs`: its kubelet falls silent, but starts pods, and the
   * machine stays up until a reboot is forced.
   */
  reboot?: 'ignored' | 'hangs';
  /** `kairos-agent upgrade` ends with this error. */
  upgradeFails?: string;
  /** The kernel kills `kairos-agent upgrade`, and all of its container, for want of memory. */
  upgradeOutOfMemory?: boolean;
  /** The machine reboots by itself once `kairos-agent upgrade` has written, as with `upgrade.reboot: true`. */
  rebootsItself?: boolean;
  /** The operator's agent does not start at the next boot. */
  noAgent?: boolean;
  /** The recovery system starts Kubernetes, as that of Kairos does not. */
  kubernetesInRecovery?: boolean;
}
