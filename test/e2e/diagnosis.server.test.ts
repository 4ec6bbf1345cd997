import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { nodeWorkflowID } from '../../api/messages.ts';
import { writeNode } from '../../kube/nodes.ts';
import { NEW, NEWER, startStage, type Stage } from './stage.ts';

const UNKNOWN = 'quay.io/kairos/hadron:v9.9.9';
const NAMESPACE = 'kairos-system';

let stage: Stage;
let letGo: () => Promise<void>;

beforeAll(async () => {
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 4 });
  letGo = await stage.holdDrain('worker-1');
  stage.cluster.makeImageBad(NEWER);
  await writeNode(stage.client, 'worker-4', { unschedulable: true });
  // All at once: a cordoned node counts against the budgets of all.
  const strategy = { maxUnavailable: 5 };
  await stage.upgrade('blocked', NEW, ['worker-1'], { strategy });
  await stage.upgrade('unknown', UNKNOWN, ['worker-2'], { strategy: { ...strategy, prePull: { timeout: '4s' } } });
  await stage.upgrade('bad', NEWER, ['worker-3'], { strategy });
  await stage.upgrade('paused', NEW, ['worker-4'], { strategy });
}, 75_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const describeNode = (name: string) => stage.kubectl('describe', 'kairosnode', name);
const describeUpgrade = (name: string) => stage.kubectl('describe', '-n', NAMESPACE, 'nodeopupgrade', name);

/** What kubectl says, once it holds all of this: one line each, as a person reads it. */
async function says(ask: () => Promise<string>, ...lines: RegExp[]): Promise<void> {
  const missing = (text: string) => lines.filter((line) => !text.split('\n').some((one) => line.test(one)));
  await stage.until(
    'kubectl says it',
    async () => missing(await ask()).map(String),
    (left) => left.length === 0,
    45_000,
  );
}

/** The reasons of the Events about an object, in the order of their times: `Drained x1`. */
async function eventsOf(kind: string, name: string, namespace: string): Promise<string[]> {
  const selector = `involvedObject.kind=${kind},involvedObject.name=${name}`;
  const text = await stage.kubectl('get', 'events', '-n', namespace, '--field-selector', selector, '-o', 'json');
  const { items } = JSON.parse(text) as { items: { reason: string; lastTimestamp: string; count: number }[] };
  return items
    .toSorted((a, b) => a.lastTimestamp.localeCompare(b.lastTimestamp))
    .map(({ reason, count }) => `${reason} x${count}`);
}

const retryOf = (name: string) =>
  String.raw`kubectl annotate -n kairos-system nodeopupgrade ${name} --overwrite kairos\.io/retry=`;

describe('kubectl alone tells what happened, why and what to do', () => {
  it('of a drain that a budget holds', async () => {
    const line =
      /Warning +DrainBlocked .* held by PodDisruptionBudget held-on-worker-1, which allows 0 disruptions .*\. kubectl get pdb -n default: /;
    await says(
      () => describeNode('worker-1'),
      line,
      /Normal +TakenInHand .* by kairos-system\/blocked, attempt 1: from /,
    );
    await says(
      () => describeUpgrade('blocked'),
      /Warning +DrainBlocked .* node worker-1: pod default\/held-on-worker-1/,
    );
    const events = () => stage.kubectl('events', '--for', 'kairosnode/worker-1');
    await says(events, /Warning +DrainBlocked +KairosNode\/worker-1 +pod default\/held-on-worker-1/);
  }, 60_000);

  it('of an image that no registry has, with its words', async () => {
    const line = /Warning +PullFailing .* ErrImagePull .*not found.* Check the name of the image/;
    await says(
      () => describeNode('worker-2'),
      line,
      new RegExp(`Warning +Failed .*not touched.*${retryOf('unknown')}`),
    );
    await says(
      () => describeUpgrade('unknown'),
      /Warning +PullFailing .* node worker-2: cannot pull/,
      /Warning +NodeFailed .* node worker-2: Failed: image .* was not pulled/,
      new RegExp(`Warning +Failed .*attempt 1: .*${retryOf('unknown')}`),
    );
  }, 60_000);

  it('of an image that does not boot', async () => {
    await stage.ended('bad');
    const fell = /Warning +RolledBack .* fell back to its passive image .* find out on its console .* edit spec\.image/;
    await says(() => describeNode('worker-3'), fell, /Normal +Rebooted .* new boot, slot passive, version v4\.0\.2/);
    await says(() => describeUpgrade('bad'), /Warning +NodeFailed .* node worker-3: RolledBack: /, /Type: +Degraded/);
    const events = () => stage.kubectl('events', '-n', NAMESPACE, '--for', 'nodeopupgrade/bad', '--types=Warning');
    await says(events, /Warning +Failed +NodeOpUpgrade\/bad +attempt 1: stopped: node worker-3 ended as RolledBack/);
    expect((await eventsOf('KairosNode', 'worker-3', 'default')).toSorted()).toEqual([
      'Drained x1',
      'ImageWritten x1',
      'Rebooted x1',
      'RolledBack x1',
      'TakenInHand x1',
    ]);
  }, 60_000);

  it('of a pause, by whom it is and how it ends; and kubectl waits for it', async () => {
    const annotate = (value: string) =>
      stage.kubectl('annotate', '-n', NAMESPACE, 'nodeopupgrade', 'paused', `kairos.io/pause${value}`);
    await annotate('=disk alarm in rack 4');
    await stage.kubectl('wait', '-n', NAMESPACE, 'nodeopupgrade/paused', '--for=condition=Paused', '--timeout=20s');
    const line =
      /Normal +Paused .* by kubectl \(kubectl-annotate\): disk alarm in rack 4; .* kubectl annotate .* paused kairos\.io\/pause-/;
    await says(() => describeUpgrade('paused'), line);
    await annotate('-');
    await stage.kubectl(
      'wait',
      '-n',
      NAMESPACE,
      'nodeopupgrade/paused',
      '--for=condition=Paused=false',
      '--timeout=20s',
    );
    await says(() => describeUpgrade('paused'), /Normal +Resumed .* annotation .* is gone; .* disk alarm in rack 4/);
  }, 60_000);

  it('of a workflow that somebody terminated', async () => {
    const { uid } = stage.node('worker-1');
    const id = nodeWorkflowID(stage.ref, { name: 'worker-1', uid });
    await stage.temporalCLI('workflow', 'terminate', '--workflow-id', id, '--reason', 'a test');
    await stage.kubectl('wait', '-n', NAMESPACE, 'nodeopupgrade/blocked', '--for=condition=Ended', '--timeout=40s');
    const line = new RegExp(
      `Warning +GivenBack .* workflow had ended before its image was touched.*${retryOf('blocked')}`,
    );
    await says(() => describeNode('worker-1'), line);
    await says(
      () => describeUpgrade('blocked'),
      /Warning +NodeFailed .* node worker-1: Cancelled: its workflow was terminated/,
      new RegExp(`Warning +Failed .*${retryOf('blocked')}`),
    );
  }, 60_000);

  it('once: a watcher that starts again repeats nothing, and goes on', async () => {
    const all = async () => ({
      blocked: await eventsOf('KairosNode', 'worker-1', 'default'),
      bad: await eventsOf('NodeOpUpgrade', 'bad', NAMESPACE),
    });
    const before = await all();
    await stage.product.watcher.stop();
    await stage.product.watcher.start();
    await letGo();
    await stage.kubectl(
      'annotate',
      '-n',
      NAMESPACE,
      'nodeopupgrade',
      'blocked',
      '--overwrite',
      'kairos.io/retry=again',
    );
    await says(() => describeUpgrade('blocked'), /Normal +Completed .* attempt 2: 1 of 1 nodes run/);
    await says(() => describeNode('worker-1'), /Normal +Succeeded .* proven by the stamp/);
    const after = await all();
    expect(after.bad).toEqual(before.bad);
    expect(after.blocked.slice(0, before.blocked.length)).toEqual(before.blocked);
    expect(after.blocked.filter((event) => event.startsWith('DrainBlocked'))).toEqual(['DrainBlocked x1']);
    await stage.kubectl('wait', '-n', NAMESPACE, 'nodeopupgrade/blocked', '--for=condition=Completed', '--timeout=5s');
  }, 60_000);

  it('of a NodeOpUpgrade in a namespace that nobody serves, where the watcher may see it', async () => {
    const file = path.join(stage.folder, 'elsewhere.yaml');
    writeFileSync(file, ELSEWHERE);
    await stage.kubectl('apply', '-f', file);
    await stage.product.watcher.stop();
    await stage.product.watcher.start();
    const condition = '--for=condition=NamespaceNotEnabled';
    await stage.kubectl('wait', '-n', 'elsewhere', 'nodeopupgrade/lost', condition, '--timeout=20s');
    const line = /Message: +nobody carries this out: .* in kairos-system\. .* add elsewhere to KAIROS_NAMESPACES/;
    await says(() => stage.kubectl('describe', '-n', 'elsewhere', 'nodeopupgrade', 'lost'), line);
  }, 60_000);
});

/** The right to look everywhere, which the manifests do not give. */
const ELSEWHERE = `
apiVersion: v1
kind: Namespace
metadata: { name: elsewhere }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: kairos-watcher-elsewhere }
rules:
  - { apiGroups: [operator.kairos.io], resources: [nodeopupgrades], verbs: [list] }
  - { apiGroups: [operator.kairos.io], resources: [nodeopupgrades/status], verbs: [patch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: kairos-watcher-elsewhere }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kairos-watcher-elsewhere }
subjects: [{ kind: ServiceAccount, name: kairos-watcher, namespace: kairos-system }]
---
apiVersion: operator.kairos.io/v1alpha1
kind: NodeOpUpgrade
metadata: { name: lost, namespace: elsewhere }
spec: { image: '${NEW}' }
`;
