import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { NEW, NEWER, startStage, versionIn, type Stage } from './stage.ts';

const ROOM = 6;
const NETWORK = 'network';
const DAEMON_SETS = '/apis/apps/v1/namespaces/default/daemonsets';

let stage: Stage;

interface Pod {
  metadata: { name: string };
  spec: { nodeName?: string };
}

const create = (path: string, body: object) => stage.client.request({ verb: 'create', path, body });
const hostname = (...values: string[]) => ({
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values }] }],
    },
  },
});

/** A DaemonSet on these nodes, whose pods break as their annotation says. */
async function daemonSet(name: string, nodes: string[], annotations: Record<string, string>): Promise<void> {
  const template = {
    metadata: { labels: { app: name }, annotations },
    spec: {
      affinity: hostname(...nodes),
      tolerations: [{ operator: 'Exists' }],
      containers: [{ name: 'agent', image: 'example.com/agent:1' }],
    },
  };
  await create(DAEMON_SETS, {
    metadata: { name },
    spec: { selector: { matchLabels: { app: name } }, template },
  });
  await stage.until(
    `the pods of ${name} have begun`,
    () =>
      stage.client.request<{ status?: { currentNumberScheduled?: number } }>({
        verb: 'get',
        path: `${DAEMON_SETS}/${name}`,
      }),
    ({ status }) => status?.currentNumberScheduled === nodes.length,
  );
}

async function podOf(app: string, node: string): Promise<string> {
  const query = { labelSelector: `app=${app}`, fieldSelector: `spec.nodeName=${node}` };
  const { items } = await stage.client.request<{ items: Pod[] }>({
    verb: 'list',
    path: '/api/v1/namespaces/default/pods',
    query,
  });
  return items[0]?.metadata.name ?? '';
}

/** Whatever broke the pod is mended: it starts. */
const mend = async (app: string, node: string) =>
  stage.client.request({
    verb: 'merge-patch',
    path: `/api/v1/namespaces/default/pods/${await podOf(app, node)}`,
    body: { metadata: { annotations: { 'sim.kairos.io/breaks-at-reboot': null } } },
  });

const upgrade = (name: string, node: string, soakChecks: object, image = NEW) =>
  stage.upgrade(name, image, [node], { strategy: { maxUnavailable: ROOM, reboot: { timeout: '15s' }, soakChecks } });
const retry = (name: string) =>
  stage.kubectl('annotate', '-n', 'kairos-system', 'nodeopupgrade', name, '--overwrite', 'kairos.io/retry=again');
const inService = (node: string) => {
  const { owner, unschedulable } = stage.node(node);
  expect({ owner, unschedulable }).toEqual({ owner: undefined, unschedulable: false });
};
const attemptEnds = (name: string, attempt: number) =>
  stage.until(
    `attempt ${attempt} of ${name} ends`,
    () => stage.status(name)?.rollout,
    (now) => now?.attempt === attempt && now.finishedAt !== undefined,
    70_000,
  );

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 4 });
  await daemonSet(NETWORK, ['worker-1', 'worker-2', 'worker-3'], {
    'sim.kairos.io/breaks-at-reboot': 'no such device: eth0',
  });
  await daemonSet('broken-before', ['worker-4'], { 'sim.kairos.io/never-works': 'never did' });
  await upgrade('late', 'worker-1', {});
  await upgrade('unhealthy', 'worker-2', { timeout: '8s' });
  await upgrade('mended-image', 'worker-3', { timeout: '8s' });
  await upgrade('as-before', 'worker-4', {});
}, 90_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

it('waits for a pod of a DaemonSet that is not Ready, names it, and gives the node back when it is', async () => {
  const { message, stepSince } = await stage.until(
    'the soak waits for a pod that has begun and crashed again',
    () => stage.kairosNode('worker-1').status,
    (status) => status.step === 'Soak' && status.message?.includes('CrashLoopBackOff') === true,
    90_000,
  );
  expect(message).toMatch(
    /^must stay Ready for 1s: waits since \d{4}-.*Z, pod default\/network-\w+ of DaemonSet network is not Ready: container agent waits: CrashLoopBackOff back-off restarting failed container; it ended with 1 \(Error\): no such device: eth0$/,
  );
  expect(stepSince).toBeDefined();
  expect(stage.node('worker-1').unschedulable).toBe(true);
  await mend(NETWORK, 'worker-1');
  expect(await stage.ended('late')).toMatchObject({ phase: 'Completed', rollout: { verdicts: { Succeeded: 1 } } });
  inService('worker-1');
}, 120_000);

it('ends as Unhealthy where that never comes, and a retry looks again without writing again', async () => {
  const status = await stage.ended('unhealthy');
  expect({ phase: status.phase, verdicts: status.rollout?.verdicts }).toEqual({
    phase: 'Failed',
    verdicts: { Unhealthy: 1 },
  });
  expect(status.message).toMatch(
    /^stopped: node worker-2 ended as Unhealthy: node worker-2 runs .*, but its pods did not hold out for 1s within 9s: pod default\/network-\w+ .*no such device: eth0\. Mend that, and set kairos\.io\/retry/,
  );
  expect(stage.node('worker-2')).toMatchObject({ owner: 'held:Unhealthy', unschedulable: true });
  expect(stage.kairosNode('worker-2').status).toMatchObject({
    upgradeState: 'Failed',
    observedVersion: versionIn(NEW),
    bootState: 'active',
    lastAttempt: { verdict: 'Unhealthy' },
  });

  await mend(NETWORK, 'worker-2');
  await retry('unhealthy');
  expect(await attemptEnds('unhealthy', 2)).toMatchObject({ phase: 'Completed', verdicts: { AlreadyOnTarget: 1 } });
  inService('worker-2');
  const { boots, upgradeRuns } = stage.recording('worker-2');
  expect([boots.length, upgradeRuns.length]).toEqual([2, 1]);
}, 120_000);

it('does not take what the last image broke for something that was broken before', async () => {
  await stage.ended('mended-image');
  expect(stage.node('worker-3').owner).toBe('held:Unhealthy');
  const generation = await stage.editImage('mended-image', NEWER);
  await stage.until(
    'the next image soaks, and its pods are looked at',
    () => stage.kairosNode('worker-3').status,
    ({ step, message, observedVersion }) =>
      step === 'Soak' && observedVersion === versionIn(NEWER) && message?.includes('DaemonSet network') === true,
    90_000,
  );
  await mend(NETWORK, 'worker-3');
  expect(await stage.ended('mended-image', generation)).toMatchObject({ phase: 'Completed' });
  inService('worker-3');
}, 120_000);

it('does not wait for what was not Ready before the upgrade, and names it', async () => {
  expect(await stage.ended('as-before')).toMatchObject({ phase: 'Completed', rollout: { verdicts: { Succeeded: 1 } } });
  expect(stage.kairosNode('worker-4').status.lastAttempt).toMatchObject({
    verdict: 'Succeeded',
    message: expect.stringMatching(/; not Ready, as before the upgrade: DaemonSet default\/broken-before$/),
    notReadyBefore: ['DaemonSet default/broken-before'],
  });
  inService('worker-4');
  await stage.cleanedUp();
}, 120_000);
