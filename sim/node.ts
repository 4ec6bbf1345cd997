import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import type { Agents } from './agents.ts';
import type { Slot } from './grub.ts';
import type { Kubelets } from './kubelet.ts';
import { readRelease } from './machine-disk.ts';
import type { Machine } from './machine.ts';
import { POWER_LABEL, statusAfterBoot, statusWithoutHeartbeat, type NodeIdentity } from './node-object.ts';
import { inBackground, untilWritten } from './retry.ts';

/** What really happened to a machine: the ground that a benchmark's ideal and a chaos test's verdict stand on. */
export interface NodeRecording {
  readonly node: string;
  readonly controlPlane: boolean;
  /** Not known to the machine; here for those who measure it. */
  readonly drainMs?: number;
  /** Of the last complete run of `kairos-agent upgrade`; 0 without one. */
  readonly upgradeMs: number;
  /** From power-off until Ready, the last time; 0 before. */
  readonly bootMs: number;
  readonly boots: readonly { readonly bootID: string; readonly slot: Slot; readonly atMs: number }[];
  /** Runs of `kairos-agent upgrade`, recovery left out; -1: cut off, or not ended yet. */
  readonly upgradeRuns: readonly { readonly bootID: string; readonly atMs: number; readonly exitCode: number }[];
  /** From power-off until Ready. */
  readonly outages: readonly { readonly fromMs: number; readonly toMs?: number }[];
}

export interface SimulatedNodeOptions {
  readonly machine: Machine;
  readonly identity: NodeIdentity;
  readonly client: KubeClient;
  readonly kubelets: Kubelets;
  readonly agents: Agents;
  /**
   * Where the leases are too long for the controller manager to notice: it is done in its place, after this time.
   * Undefined: the controller manager does it.
   */
  readonly notReadyAfterMs: number | undefined;
  readonly onError: (error: unknown) => void;
}

/** A machine as Kubernetes sees it. */
export interface SimulatedNode {
  /** Resolves when what followed the last change of power has been told to the API server. */
  told(): Promise<void>;
  recording(): NodeRecording;
  /** Leaves the Node as it is from now on. */
  stop(): void;
}

/** Tells the API server what happens to a machine's power, as its kubelet, or its kubelet's silence, does. */
export function connectMachine(options: SimulatedNodeOptions): SimulatedNode {
  const { machine, identity, client, kubelets, agents } = options;
  const path = `/api/v1/nodes/${identity.name}`;
  const outages: { fromMs: number; toMs?: number }[] = [];
  let phase = new AbortController();
  let last: Promise<void> = Promise.resolve();

  /** Each change of power ends the work of the one before; never two of them at once. */
  function begin(work: (signal: AbortSignal) => Promise<void>): void {
    phase.abort();
    phase = new AbortController();
    const { signal } = phase;
    last = last
      .then(() => work(signal))
      .catch((error: unknown) => {
        if (!signal.aborted) options.onError(error);
      });
  }

  async function write(path: string, body: object, signal: AbortSignal): Promise<void> {
    await untilWritten(() => client.request({ verb: 'merge-patch', path, body, signal }), signal);
  }

  const setPower = (power: 'on' | 'off', signal: AbortSignal): Promise<void> =>
    write(path, { metadata: { labels: { [POWER_LABEL]: power } } }, signal);

  async function up(signal: AbortSignal): Promise<void> {
    const bootID = machine.bootID ?? '';
    const status = statusAfterBoot(identity, { bootID, release: readRelease(machine.root) });
    // Ready and the new boot id in one write, as kubelet does it, and before kwok may write Ready on its own.
    await write(`${path}/status`, { status }, signal);
    const outage = outages.at(-1);
    if (outage !== undefined) outage.toMs ??= Date.now();
    await kubelets.nodeUp(identity.name, signal);
    await setPower('on', signal);
    if (machine.faults.noAgent !== true) agents.run(machine, signal);
  }

  async function down(signal: AbortSignal): Promise<void> {
    // kwok lets go: heartbeats stop, pods stay as they are.
    await setPower('off', signal);
    if (options.notReadyAfterMs === undefined) return;
    // With leases of ten minutes the controller manager would notice too late.
    await sleep(options.notReadyAfterMs, undefined, { signal });
    await write(`${path}/status`, { status: statusWithoutHeartbeat(identity) }, signal);
  }

  const leave = machine.onPower((power) => {
    const runsKubernetes =
      power === 'running' || (power === 'recovery' && machine.faults.kubernetesInRecovery === true);
    if (runsKubernetes) begin(up);
    if (power !== 'off') return;
    if (outages.at(-1)?.toMs !== undefined || outages.length === 0) outages.push({ fromMs: Date.now() });
    begin(down);
  });

  // Its kubelet is silent as that of a machine without power, but whatever runs on it goes on.
  const leaveHang = machine.onHang(() => {
    const { signal } = phase;
    inBackground(down(signal), signal, options.onError);
  });

  return {
    told: () => last,
    stop() {
      leave();
      leaveHang();
      phase.abort();
    },
    recording() {
      const lastOutage = outages.findLast(({ toMs }) => toMs !== undefined);
      return {
        node: identity.name,
        controlPlane: identity.controlPlane,
        upgradeMs: machine.writes.findLast(({ recovery, exitCode }) => !recovery && exitCode === 0)?.durationMs ?? 0,
        bootMs: lastOutage?.toMs === undefined ? 0 : lastOutage.toMs - lastOutage.fromMs,
        boots: [...machine.boots],
        upgradeRuns: machine.writes
          .filter(({ recovery }) => !recovery)
          .map(({ bootID, atMs, exitCode = -1 }) => ({ bootID, atMs, exitCode })),
        outages: structuredClone(outages),
      };
    },
  };
}
