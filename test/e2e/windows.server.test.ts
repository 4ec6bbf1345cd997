import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NEW, NEWER, startStage, type Stage } from './stage.ts';

const SECONDS_OPEN = 40;
/** In that many seconds a rollout comes to its gates also on a busy machine. */
const ROOM = 10;
const ALL = ['cp-1', 'worker-1', 'worker-2'];

let stage: Stage;

beforeAll(async () => {
  // What a NodeOpUpgrade names wins; the others below do not name it.
  const strategyDefaults = { maxUnavailable: 2, newNodes: 'Upgrade' } as const;
  stage = await startStage({ controlPlaneNodes: 1, workerNodes: 2, strategyDefaults });
}, 60_000);

afterAll(async () => {
  await stage?.stop();
}, 60_000);

const attempt = (name: string) => stage.kairosNode(name).status.lastAttempt;

describe('a maintenance window', () => {
  it('that no calendar has is refused by the plan, before anything is pulled', async () => {
    const windows = [{ cron: '0 22 31 2 *', duration: '2h' }];
    await stage.upgrade('never', NEW, undefined, { strategy: { windows } });
    const status = await stage.ended('never');
    expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: {} } });
    expect(status.message).toMatch(/^strategy\.windows\[0\]\.cron: "0 22 31 2 \*" never comes, .*No node was touched$/);
    expect(stage.touched).toEqual([]);
  }, 60_000);

  it('lets nodes begin while it is open, and is told of while it is closed, also in the middle of a rollout', async () => {
    // Open for the first seconds of each minute; the test begins when it is closed, and stays so for a while.
    const second = (Date.now() / 1000) % 60;
    if (second < SECONDS_OPEN || second > SECONDS_OPEN + ROOM) {
      const closesInSeconds = (SECONDS_OPEN - second + 60) % 60;
      await sleep((closesInSeconds + 1) * 1000);
    }
    const opensAt = new Date(Math.ceil(Date.now() / 60_000) * 60_000).toISOString().replace('.000Z', 'Z');
    const windows = [{ cron: '* * * * *', duration: `${SECONDS_OPEN}s` }];
    await stage.upgrade('nightly', NEW, undefined, { strategy: { windows, soak: '12s', maxUnavailable: 1 } });
    const closed = await stage.until(
      'it waits for its window',
      () => stage.status('nightly'),
      (status) =>
        status?.rollout?.nextWindow !== undefined &&
        status.inFlight?.length === 1 &&
        status.message?.includes('window closed') === true,
    );
    expect(closed?.rollout?.nextWindow).toBe(opensAt);
    expect(closed?.message).toContain(`window closed until ${opensAt}`);
    expect(closed?.inFlight?.[0]).toMatchObject({
      name: 'cp-1',
      step: 'Gate',
      message: `waiting at the gate Window: window closed until ${opensAt}`,
    });
    expect(stage.touched).toEqual([]);

    await stage.until(
      'its first node is in hand',
      () => stage.touched,
      (touched) => touched.length > 0,
      60_000,
    );
    const open = await stage.until(
      'it says no more that it waits',
      () => stage.status('nightly'),
      (status) => status?.rollout?.nextWindow === undefined && status?.message?.includes('window closed') === false,
    );
    expect(open?.phase).toBe('Running');
    const later = await stage.until(
      'the window closes before the last node has begun',
      () => stage.status('nightly'),
      (status) => status?.rollout?.nextWindow !== undefined || status?.rollout?.finishedAt !== undefined,
      60_000,
    );
    expect(later?.rollout?.nextWindow).toBeDefined();

    expect(later?.rollout?.message).toMatch(/^wave workers: 2 nodes, at most 1 out at once/);

    const ended = await stage.ended('nightly');
    expect(ended).toMatchObject({ phase: 'Completed', nodes: { summary: '3/3' } });
    // Of the defaults of the installation, and by the clock of the API server.
    expect(ended.rollout?.newNodes).toBe('Upgrade');
    const created = [...stage.observer.nodes.values()].map(({ creationTimestamp }) => creationTimestamp).sort();
    expect(ended.rollout?.youngestNode).toBe(created.at(-1));
    expect(ended.rollout).not.toHaveProperty('nextWindow');
    expect(ended.message).not.toContain('waiting');
    const begun = ALL.map((name) => Date.parse(attempt(name)?.startedAt ?? '') / 1000);
    for (const time of begun) expect(time % 60).toBeLessThan(SECONDS_OPEN + 1);
    expect(new Set(begun.map((time) => Math.floor(time / 60))).size).toBeGreaterThan(1);
    await stage.cleanedUp();
  }, 240_000);

  it('is waited for by pulls where they are only for windows: a dry run pulls nothing, and says so', async () => {
    const month = ((new Date().getUTCMonth() + 5) % 12) + 1;
    const windows = [{ cron: `0 0 1 ${month} *`, duration: '1h' }];
    await stage.upgrade('rehearsed', NEWER, undefined, {
      dryRun: true,
      strategy: { windows, prePull: { when: 'WindowOpen' } },
    });
    const { plan, phase } = await stage.ended('rehearsed');
    expect(phase).toBe('Planned');
    expect(plan?.risks?.find(({ reason }) => reason === 'NotTried')?.message).toMatch(
      /^the image was not pulled: window closed until .*-01T00:00:00Z, and strategy\.prePull\.when is WindowOpen/,
    );
    expect(plan).not.toHaveProperty('version');
  }, 60_000);
});

describe('a health gate', () => {
  const gate = {
    name: 'freeze',
    interval: '1s',
    field: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      namespace: 'kairos-system',
      name: 'freeze',
      jsonPath: '.data.frozen',
      equals: 'no',
    },
  };
  const freeze = (frozen: string) =>
    stage.kubectl(
      'patch',
      'configmap',
      '-n',
      'kairos-system',
      'freeze',
      '--type=merge',
      '-p',
      JSON.stringify({ data: { frozen } }),
    );
  const says = (name: string, words: string) =>
    stage.until(
      `${name} says: ${words}`,
      () => stage.status(name)?.rollout?.message ?? '',
      (message) => message.includes(words),
    );

  it('keeps nodes from being started, says what to grant and what it waits for, and stops the rollout after a wave', async () => {
    stage.forgetTouched();
    await stage.kubectl('create', 'configmap', '-n', 'kairos-system', 'freeze', '--from-literal=frozen=yes');
    const strategy = { healthGates: [{ ...gate, timeout: '15s' }] };
    await stage.upgrade('frozen', NEWER, ['worker-1'], { strategy });
    await says(
      'frozen',
      'the worker may not read configmaps: add {apiGroups: [""], resources: [configmaps]} to worker.mayRead',
    );
    const role = path.join(stage.folder, 'may-read.yaml');
    writeFileSync(
      role,
      `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: health, namespace: kairos-system }
rules: [{ apiGroups: [''], resources: [configmaps], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: health, namespace: kairos-system }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: health }
subjects: [{ kind: ServiceAccount, name: kairos-worker, namespace: kairos-system }]
`,
    );
    await stage.kubectl('apply', '-f', role);
    await says(
      'frozen',
      'health gate freeze: ConfigMap kairos-system/freeze: .data.frozen is "yes", should be "no"; seen since ',
    );
    expect(stage.status('frozen')?.rollout?.message).toMatch(/^wave workers: 1 nodes, at most 2 out at once/);
    expect(stage.kairosNode('worker-1').status.message).toMatch(/^waiting at the gate Health: health gate freeze: /);
    expect(stage.touched).toEqual([]);

    await freeze('no');
    await stage.until(
      'the node is in hand',
      () => stage.touched,
      (touched) => touched.includes('worker-1'),
    );
    await freeze('yes');
    await says('frozen', 'wave workers has ended: asking the health gates; waiting: health gate freeze');
    const status = await stage.ended('frozen');
    expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: { Succeeded: 1 } } });
    expect(status.message).toMatch(
      /^stopped: after wave \S+: health gate freeze: ConfigMap .* is "yes", should be "no"/,
    );
    await stage.cleanedUp();
  }, 120_000);
});
