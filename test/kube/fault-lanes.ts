import type { RawObject } from '../../kube/raw-object.ts';
import { createJob, deleteJob, readJob } from '../../kube/jobs.ts';
import { applyKairosNodeSpec, patchKairosNodeStatus, readKairosNode } from '../../kube/kairos-nodes.ts';
import { type LeaseOptions, holdLease } from '../../kube/lease.ts';
import { patchNodeOpUpgradeStatus, readNodeOpUpgrade } from '../../kube/node-op-upgrades.ts';
import { readNode, writeNode } from '../../kube/nodes.ts';
import { createPod, deletePod, evictPod, listPodsOnNode } from '../../kube/pods.ts';
import { pause } from '../../kube/pause.ts';
import { LATE_MS } from './faulty-proxy.ts';
import { type Rig, untilDone } from './fault-rig.ts';

/** One write after the other through the faulty network, each checked; until the signal is aborted. */
export type Lane = (rig: Rig, name: string, signal: AbortSignal) => Promise<void>;

const COUNTER = 'test/counter';
const NEVER = new AbortController().signal;

/** Runs `step` again and again; a step that was begun is brought to its end. Whatever it throws is a problem. */
function repeated(step: (rig: Rig, name: string, round: number) => Promise<void>): Lane {
  return async (rig, name, signal) => {
    for (let round = 1; !signal.aborted; round++) {
      await step(rig, name, round).catch((error: unknown) => {
        rig.problems.push(`${name}, round ${round}: ${String(error)}`);
        return pause(100, signal);
      });
    }
  };
}

const patient = <T>(attempt: () => Promise<T>) => untilDone(attempt, AbortSignal.timeout(60_000));

/** Adds 1 to a counter under a precondition, as often as it takes to know that it was added. */
export const countOnNode = (node: string): Lane =>
  repeated(async (rig, name, round) => {
    const path = `/api/v1/nodes/${node}`;
    const key = `${COUNTER}-${name}`;
    const operation = `#${name} ${round}#`;
    await patient(async () => {
      const { metadata } = await rig.faulty.request<RawObject>({ verb: 'get', path });
      if (metadata.annotations?.[key] === operation) return;
      const before = metadata.annotations?.[key] ?? `#${name} 0#`;
      if (before !== `#${name} ${round - 1}#`) throw new Error(`${key} is ${before} before round ${round}`);
      const body = { metadata: { resourceVersion: metadata.resourceVersion, annotations: { [key]: operation } } };
      await rig.faulty.request({ verb: 'merge-patch', path, body });
    });
  });

export const countOnUpgrade: Lane = repeated(async (rig, name, round) => {
  const operation = `#${name} ${round}#`;
  await patient(async () => {
    const { metadata, status } = await readNodeOpUpgrade(rig.faulty, 'default', name);
    if (status?.message === operation) return;
    const { resourceVersion = '' } = metadata as { resourceVersion?: string };
    const body = { metadata: { resourceVersion }, status: { message: operation } };
    await patchNodeOpUpgradeStatus(rig.faulty, 'default', name, body, 'kairos-operator');
  });
});

/** Marks and cordons a node and gives it back, under two owners in turn. */
export const mark = (node: string): Lane =>
  repeated(async (rig, _name, round) => {
    const owner = `node/${node}-${round % 2}`;
    const write = (target: string | undefined) =>
      patient(async () => {
        const { resourceVersion, owner: now } = await readNode(rig.faulty, node);
        if (now === target) return;
        await writeNode(rig.faulty, node, {
          owner: target ?? null,
          unschedulable: target !== undefined,
          resourceVersion,
        });
      });
    await write(owner);
    const marked = await patient(() => readNode(rig.admin, node));
    if (marked.owner !== owner || !marked.unschedulable) rig.problems.push(`${node} is not marked by ${owner}`);
    await write(undefined);
  });

const podSpec = { nodeName: 'n0', terminationGracePeriodSeconds: 0, containers: [{ name: 'c', image: 'i' }] };

/** Creates a pod and removes it, then does not touch the one that came under its name. */
export const pods: Lane = repeated(async (rig, name, round) => {
  const pod = { metadata: { name: `${name}-${round}`, labels: { 'kairos.io/upgrade-step': 'test' } }, spec: podSpec };
  const path = '/api/v1/namespaces/default/pods';
  const made = await patient(() => createPod(rig.faulty, 'default', pod));
  const same = await patient(() => createPod(rig.faulty, 'default', pod));
  if (same.uid !== made.uid) rig.problems.push(`pod ${made.name} was created twice`);
  const remove = () =>
    round % 2 === 0
      ? evictToTheEnd(rig, made)
      : patient(() => deletePod(rig.faulty, 'default', made.name, { uid: made.uid }));
  await remove();
  const successor = await patient(() => createPod(rig.admin, 'default', pod));
  if (successor.uid === made.uid) rig.problems.push(`pod ${made.name} is there after it was removed`);
  await remove();
  await pause(LATE_MS + 50, NEVER);
  const left = await patient(() => rig.admin.request<RawObject>({ verb: 'get', path: `${path}/${made.name}` }));
  if (left.metadata.uid !== successor.uid) rig.problems.push(`pod ${made.name}: the successor was replaced`);
  if (left.metadata.deletionTimestamp !== undefined) rig.problems.push(`pod ${made.name}: the successor was removed`);
  await deletePod(rig.admin, 'default', made.name, { uid: successor.uid, gracePeriodSeconds: 0 });
});

async function evictToTheEnd(rig: Rig, pod: { namespace: string; name: string; uid: string }): Promise<void> {
  for (;;) {
    const { outcome } = await patient(() => evictPod(rig.faulty, pod, { gracePeriodSeconds: 0 }));
    const left = await listPodsOnNode(rig.admin, podSpec.nodeName);
    if (left.every(({ uid }) => uid !== pod.uid)) return;
    if (outcome !== 'Blocked') throw new Error(`pod ${pod.name} is there, though the answer was ${outcome}`);
  }
}

export const jobs: Lane = repeated(async (rig, name, round) => {
  const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'i' }] } };
  const job = { metadata: { name: `${name}-${round}` }, spec: { template, suspend: true } };
  const made = await patient(() => createJob(rig.faulty, 'default', job));
  const same = await patient(() => createJob(rig.faulty, 'default', job));
  const read = await patient(() => readJob(rig.faulty, 'default', made.name));
  if (same.uid !== made.uid || read.uid !== made.uid) rig.problems.push(`job ${made.name} was created twice`);
  await patient(() => deleteJob(rig.faulty, 'default', made.name, { uid: made.uid }));
  const successor = await patient(() => createJob(rig.admin, 'default', job));
  await patient(() => deleteJob(rig.faulty, 'default', made.name, { uid: made.uid }));
  await pause(LATE_MS + 50, NEVER);
  const left = await patient(() => readJob(rig.admin, 'default', made.name));
  if (left.uid !== successor.uid || left.deleting) rig.problems.push(`job ${made.name}: the successor was removed`);
  await deleteJob(rig.admin, 'default', made.name, { uid: successor.uid });
});

export const kairosNode = (node: string): Lane =>
  repeated(async (rig, _name, round) => {
    const message = `round ${round}`;
    const spec = round % 2 === 0 ? {} : { image: `quay.io/kairos/test:${round}` };
    const applied = await patient(() => applyKairosNodeSpec(rig.faulty, node, spec));
    const patched = await patient(() => patchKairosNodeStatus(rig.faulty, node, { message }));
    const read = await patient(() => readKairosNode(rig.faulty, node));
    if (applied.spec.image !== spec.image || patched.status.message !== message || read.name !== node)
      rig.problems.push(`KairosNode ${node} does not carry what was written in round ${round}`);
  });

/** Processes that want one Lease; each gives it back after a while. Never do two hold it. */
export const lease = (holders: readonly string[]): Lane & { changes: () => number } => {
  const holding = new Set<string>();
  let changes = 0;
  const lane: Lane = async (rig, name, signal) => {
    const hold = async (identity: string): Promise<void> => {
      while (!signal.aborted) {
        const turn = new AbortController();
        const end = () => turn.abort();
        signal.addEventListener('abort', end);
        const options: LeaseOptions = {
          namespace: 'default',
          name,
          identity,
          durationMs: 2000,
          signal: turn.signal,
          onHeld: () => {
            changes++;
            holding.add(identity);
            if (holding.size > 1) rig.problems.push(`lease ${name} is held by ${[...holding].join(' and ')}`);
            setTimeout(end, 1500).unref();
          },
          onLost: () => holding.delete(identity),
        };
        await holdLease(rig.faulty, options);
        signal.removeEventListener('abort', end);
        await pause(300, signal);
      }
    };
    await Promise.all(holders.map(hold));
  };
  return Object.assign(lane, { changes: () => changes });
};
