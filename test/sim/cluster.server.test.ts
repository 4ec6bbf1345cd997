import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { STEP_LABEL } from '../../api/names.ts';
import { connectToCluster, type KubeClient } from '../../kube/client.ts';
import { isReason } from '../../kube/errors.ts';
import { startCluster, type SimulatedCluster } from '../../sim/cluster.ts';
import { kairosImage } from '../../sim/images.ts';

const [OLD, NEW] = ['quay.io/kairos/hadron:v4.0.0', 'quay.io/kairos/hadron:v4.1.0'];
const MACHINE = 'worker-1';

let cluster: SimulatedCluster;
let client: KubeClient;

interface Node {
  status: {
    nodeInfo: { bootID: string; kubeletVersion: string; architecture: string };
    conditions: { type: string; status: string }[];
  };
}
interface Pod {
  metadata: { uid: string };
  status?: {
    phase?: string;
    conditions?: { type: string; status: string }[];
    containerStatuses?: {
      imageID: string;
      restartCount: number;
      state: { waiting?: { reason: string }; terminated?: { exitCode: number; reason: string; message?: string } };
    }[];
  };
}
interface KairosNode {
  status?: { observedVersion?: string; bootID?: string; bootState?: string; stamp?: { image?: string } };
}

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sim-'));
  cluster = await startCluster({
    folder,
    controlPlaneNodes: 1,
    workerNodes: 2,
    image: OLD,
    images: [kairosImage(OLD, 'v4.0.0'), kairosImage(NEW, 'v4.1.0', { kubernetes: 'v1.34.1+k3s1' })],
    timings: { bootMs: 7000, upgradeMs: 500 },
    agents: 'process-per-node',
  });
  client = connectToCluster({ kubeconfig: cluster.controlPlane.adminKubeconfig });
}, 90_000);

afterAll(async () => {
  await client?.close();
  await cluster?.stop();
  if (cluster !== undefined) rmSync(join(cluster.machine(MACHINE).folder, '../..'), { recursive: true, force: true });
}, 30_000);

const get = <T>(path: string): Promise<T> => client.request<T>({ verb: 'get', path });
const node = (name: string) => get<Node>(`/api/v1/nodes/${name}`);
const pod = (name: string) => get<Pod>(`/api/v1/namespaces/default/pods/${name}`);
const condition = (object: { status?: { conditions?: { type: string; status: string }[] } }) =>
  object.status?.conditions?.find(({ type }) => type === 'Ready')?.status;

async function until<T>(read: () => Promise<T>, holds: (value: T) => boolean, withinMs = 20_000): Promise<T> {
  const giveUpAtMs = Date.now() + withinMs;
  for (;;) {
    const value = await read().catch((error: unknown) => {
      if (!isReason(error, 'NotFound')) throw error;
    });
    if (value !== undefined && holds(value)) return value;
    if (Date.now() > giveUpAtMs) throw new Error(`not within ${withinMs} ms: ${JSON.stringify(value)}`);
    await sleep(100);
  }
}

const reported = (name: string, holds: (status: NonNullable<KairosNode['status']>) => boolean) =>
  until(
    () => get<KairosNode>(`/apis/kairos.io/v1alpha1/kairosnodes/${name}`),
    ({ status }) => status !== undefined && holds(status),
  );

function stepPod(step: string, image: string, script: string, env: Record<string, string> = {}) {
  return {
    metadata: { name: step, labels: { [STEP_LABEL]: step } },
    spec: {
      nodeName: MACHINE,
      restartPolicy: step === 'reboot' ? 'OnFailure' : 'Never',
      tolerations: [{ operator: 'Exists' }],
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: step,
          image,
          command: ['/bin/sh', '-c', script],
          env: Object.entries(env).map(([name, value]) => ({ name, value })),
          terminationMessagePolicy: 'FallbackToLogsOnError',
        },
      ],
    },
  };
}

const createPod = (pod: { metadata: object; spec: object }) =>
  client.request({
    verb: 'create',
    path: '/api/v1/namespaces/default/pods',
    body: { apiVersion: 'v1', kind: 'Pod', ...pod },
  });
const removePod = (name: string) =>
  client.request({ verb: 'delete', path: `/api/v1/namespaces/default/pods/${name}`, body: { gracePeriodSeconds: 0 } });

describe('a simulated cluster', () => {
  it('comes up with all nodes Ready, telling what their image says', async () => {
    expect(cluster.nodes()).toEqual(['cp-1', 'worker-1', 'worker-2']);
    for (const name of cluster.nodes()) {
      const { status } = await node(name);
      expect(condition({ status })).toBe('True');
      expect(status.nodeInfo).toMatchObject({
        bootID: cluster.machine(name).bootID,
        kubeletVersion: 'v1.33.9+k3s1',
        architecture: 'amd64',
      });
    }
  });

  it('lets every agent report with the token of its own pod', async () => {
    for (const name of cluster.nodes()) {
      const { status } = await reported(name, ({ bootID }) => bootID === cluster.machine(name).bootID);
      expect(status).toMatchObject({ observedVersion: 'v4.0.0-k3sv1.33.9+k3s1', bootState: 'active' });
    }
  });

  it('prints the release files of an image in a pre-pull pod, and says when there is no such image', async () => {
    const container = (file: string, image: string) => ({
      name: file,
      image,
      command: ['cp', `/etc/${file}`, '/dev/termination-log'],
    });
    const prePull = (name: string, image: string) => ({
      metadata: { name, labels: { [STEP_LABEL]: 'pre-pull' } },
      spec: {
        nodeName: MACHINE,
        restartPolicy: 'Never',
        containers: [container('kairos-release', image), container('os-release', image)],
      },
    });
    await createPod(prePull('pull', NEW));
    await createPod(prePull('pull-unknown', 'quay.io/kairos/nowhere:v1'));
    const { status } = await until(
      () => pod('pull'),
      ({ status }) => status?.phase === 'Succeeded',
    );
    expect(status?.containerStatuses?.[0]).toMatchObject({
      imageID: cluster.images.find(NEW)?.imageID,
      state: { terminated: { exitCode: 0, message: expect.stringContaining('KAIROS_VERSION="v4.1.0"') } },
    });
    expect(status?.containerStatuses?.[1]?.state.terminated?.message).toContain('PRETTY_NAME="Hadron');
    const back = (pod: Pod) => pod.status?.containerStatuses?.[0]?.state.waiting?.reason === 'ImagePullBackOff';
    await until(() => pod('pull-unknown'), back);
  });

  it('upgrades a node by a Job and a reboot pod: NotReady, a new boot id, the new version reported', async () => {
    const before = cluster.machine(MACHINE).bootID ?? '';
    await createPod({
      metadata: { name: 'workload' },
      spec: { nodeName: MACHINE, tolerations: [{ operator: 'Exists' }], containers: [{ name: 'app', image: 'app:1' }] },
    });
    await until(
      () => pod('workload'),
      (pod) => condition(pod) === 'True',
    );

    const script = `
      mkdir -p "$HOST_DIR/run/kairos-operator" && mkdir "$HOST_DIR/run/kairos-operator/upgrade-$BOOT_ID" || exit 75
      mount --rbind /host/dev /dev
      mkdir -p "$IMAGE_ROOT/etc/kairos-operator"
      printf '{"image":"${NEW}"}' > "$IMAGE_ROOT/etc/kairos-operator/target"
      kairos-agent --debug upgrade --source dir:/ && echo done > "$TERMINATION_LOG"`;
    const { metadata, spec } = stepPod('upgrade', NEW, script, { BOOT_ID: before });
    const job = { backoffLimit: 0, template: { metadata: { labels: metadata.labels }, spec } };
    const body = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'upgrade' }, spec: job };
    await client.request({ verb: 'create', path: '/apis/batch/v1/namespaces/default/jobs', body });
    type Job = { status?: { succeeded?: number } };
    await until(
      () => get<Job>('/apis/batch/v1/namespaces/default/jobs/upgrade'),
      ({ status }) => status?.succeeded === 1,
    );

    const rebootScript = `
      [ "$(nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id)" = "$BOOT_ID" ] || exit 0
      nsenter -i -m -t 1 -- reboot; sleep 30`;
    await createPod(stepPod('reboot', NEW, rebootScript, { BOOT_ID: before }));
    await until(
      () => node(MACHINE),
      (node) => condition(node) === 'Unknown',
    );
    await until(
      () => pod('workload'),
      (pod) => condition(pod) === 'False',
    );
    const { status } = await until(
      () => node(MACHINE),
      (node) => condition(node) === 'True',
    );
    expect(status.nodeInfo).toMatchObject({ bootID: cluster.machine(MACHINE).bootID, kubeletVersion: 'v1.34.1+k3s1' });
    expect(status.nodeInfo.bootID).not.toBe(before);
    await reported(
      MACHINE,
      (status) => status.bootID === cluster.machine(MACHINE).bootID && status.stamp?.image === NEW,
    );

    const workload = await until(
      () => pod('workload'),
      (pod) => condition(pod) === 'True',
    );
    expect(workload.status?.containerStatuses?.[0]?.restartCount).toBe(1);
    // It was cut off by the reboot, and found another boot when it was started again.
    const rebooted = await until(
      () => pod('reboot'),
      ({ status }) => status?.phase === 'Succeeded',
    );
    expect(rebooted.status?.containerStatuses?.[0]?.restartCount).toBe(1);

    const recording = cluster.recordings().find(({ node }) => node === MACHINE);
    expect(recording?.boots.map(({ slot }) => slot)).toEqual(['active', 'active']);
    expect(recording?.upgradeRuns).toMatchObject([{ bootID: before, exitCode: 0 }]);
    expect(recording?.bootMs).toBeGreaterThan(7000);
    expect(recording?.upgradeMs).toBeGreaterThanOrEqual(500);
  }, 60_000);

  it('keeps a machine down until it is released; what ran there and never restarts has failed', async () => {
    await createPod({ ...stepPod('recovery', NEW, 'sleep 100') });
    await until(
      () => pod('recovery'),
      ({ status }) => status?.phase === 'Running',
    );
    cluster.holdDown(MACHINE);
    await until(
      () => node(MACHINE),
      (node) => condition(node) === 'Unknown',
    );
    await sleep(8000);
    expect(cluster.machine(MACHINE).power).toBe('off');
    expect((await pod('recovery')).status?.phase).toBe('Running');
    cluster.release(MACHINE);
    await until(
      () => node(MACHINE),
      (node) => condition(node) === 'True',
    );
    const { status } = await until(
      () => pod('recovery'),
      ({ status }) => status?.phase === 'Failed',
    );
    expect(status?.containerStatuses?.[0]?.state.terminated).toMatchObject({ exitCode: 255, reason: 'Unknown' });
    await removePod('recovery');
  }, 60_000);

  it('lets nodes join and leave', async () => {
    expect(await cluster.addNode()).toBe('worker-3');
    await reported('worker-3', ({ observedVersion }) => observedVersion !== undefined);
    await cluster.removeNode('worker-3');
    await expect(node('worker-3')).rejects.toThrow(/not found/);
    expect(cluster.nodes()).not.toContain('worker-3');
  }, 30_000);
});
