/** What kubelet says of the pod that wrote an image, once it has ended. */
export interface WriterEnd {
  phase: string;
  /** Of the pod itself: `Evicted`, `OutOfcpu`, … */
  reason?: string;
  message?: string;
  /** Whether its container has ever begun to run. */
  started: boolean;
  terminated?: { exitCode: number; reason?: string; message?: string; startedAt?: string; finishedAt?: string };
}

/**
 * `Refused`: it never ran, and may be made again. `NotTouched`: it ran and did nothing. `AnotherBoot`: it did nothing,
 * since the machine has rebooted, which the Node will say in a moment.
 */
export type WriteOutcome =
  { outcome: 'Written' | 'Refused' | 'AnotherBoot' } | { outcome: 'NotTouched' | 'Failed'; message: string };

/** Exit codes of the script that it gives before anything is touched; docs/upgrade-job.md has all of them. */
const ANOTHER_BOOT = 76;
/** What to do about each of the others. */
const NOT_TOUCHED: Readonly<Record<number, (words: string) => string>> = {
  74: (words) =>
    `the lock of this boot cannot be taken in /run/kairos-operator of the machine (${words}); its image was not touched: see whether its /run is full or read-only`,
  77: (words) =>
    `the boot id of the machine cannot be read from a privileged pod (${words}); its image was not touched: see whether the node allows nsenter into its process 1`,
  78: (words) =>
    `the new image does not fit (${words}); its image was not touched: make room on the state partition of the machine, or use a smaller image, then start the rollout again`,
  79: (words) =>
    `the machine is not what was planned for (${words}); its image was not touched: the agent of the node must report it (status.trustedBoot of its KairosNode); where there is no agent of this version, label the node kairos.io/trusted-boot=true or false, then start the rollout again`,
};
const MESSAGE_CHARACTERS = 1500;

/** How the writing of an image ended, by its pod; undefined while it has not. */
export function writeOutcome(node: string, pod: WriterEnd): WriteOutcome | undefined {
  if (pod.phase === 'Succeeded') return { outcome: 'Written' };
  if (pod.phase !== 'Failed') return undefined;
  if (!pod.started) return { outcome: 'Refused' };
  const { exitCode, reason, message } = pod.terminated ?? {};
  const words = message?.trim() ?? '';
  if (exitCode === ANOTHER_BOOT) return { outcome: 'AnotherBoot' };
  const untouched = exitCode === undefined ? undefined : NOT_TOUCHED[exitCode];
  if (untouched !== undefined)
    return { outcome: 'NotTouched', message: `node ${node}: ${untouched(words.slice(-MESSAGE_CHARACTERS))}` };
  const log = words === '' ? 'it left no message' : words.slice(-MESSAGE_CHARACTERS);
  return {
    outcome: 'Failed',
    message: `node ${node}: kairos-agent upgrade ${howItEnded(pod, exitCode, reason)}: ${log}. A slot may be half written, and in this boot it is not run again: mend what it says, reboot the node, and start the rollout again when it is back`,
  };
}

function howItEnded(pod: WriterEnd, exitCode: number | undefined, reason: string | undefined): string {
  if (pod.reason !== undefined && pod.reason !== '')
    return `was cut off when its pod was ended by kubelet (${[pod.reason, pod.message].filter(Boolean).join(': ')})`;
  if (reason === 'OOMKilled')
    return `was killed by the kernel for want of memory (OOMKilled, exit code ${exitCode ?? 137}); the node needs more free memory for it`;
  if (exitCode === undefined) return 'ended with no exit code';
  if (exitCode === 137) return 'was killed (exit code 137, as by SIGKILL)';
  return `ended with ${exitCode}`;
}
