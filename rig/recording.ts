import type { NodeView } from '../kube/nodes.ts';
import type { Reflector } from '../kube/reflector.ts';
import type { NodeRecording } from '../sim/node.ts';
import type { Machine } from './machine.ts';

/**
 * Takes down, from now on, what the machines do, in the form in which invariants are checked. A machine is out from the
 * moment its power goes until its node is Ready with another boot id.
 */
export function recordMachines(machines: readonly Machine[], nodes: Reflector<NodeView>): () => NodeRecording[] {
  const readyAtMs = new Map<string, number>();
  nodes.onChange((_, node) => {
    if (node?.ready === true && !readyAtMs.has(node.bootID)) readyAtMs.set(node.bootID, Date.now());
  });
  return () => machines.map((machine) => recordingOf(machine, readyAtMs));
}

function recordingOf(machine: Machine, readyAtMs: ReadonlyMap<string, number>): NodeRecording {
  const { name, role, boots, cuts, disk } = machine;
  const outages = cuts.map((fromMs) => {
    const back = boots.filter(({ atMs, bootID }) => atMs >= fromMs && readyAtMs.has(bootID));
    const toMs = back.map(({ bootID }) => readyAtMs.get(bootID) ?? Infinity).toSorted((a, b) => a - b)[0];
    return { fromMs, ...(toMs === undefined ? {} : { toMs }) };
  });
  const last = outages.at(-1);
  const writes = disk.writes().filter(({ recovery }) => !recovery);
  return {
    node: name,
    controlPlane: role === 'control-plane',
    upgradeMs: 0,
    bootMs: last?.toMs === undefined ? 0 : last.toMs - last.fromMs,
    boots: [...boots],
    upgradeRuns: writes.map(({ bootID, atMs, exitCode = -1 }) => ({ bootID, atMs, exitCode })),
    outages,
  };
}
