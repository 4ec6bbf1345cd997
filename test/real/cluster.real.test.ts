import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checkInvariants, type Invariant } from '../../sim/invariants.ts';
import { readNodes } from '../../sim/read-nodes.ts';
import { tryAgentToken } from './agent-token.ts';
import { IMAGES, NAMESPACE, startRealStage, VERSIONS, type RealStage } from './stage.ts';

const KAIROS = ['node1', 'node2', 'node3'];
/** The control plane is on node1, Temporal on node2; node4 is a machine without Kairos. */
const NODES = [
  { name: 'node1', role: 'control-plane' },
  { name: 'node2', role: 'worker', temporal: true },
  { name: 'node3', role: 'worker' },
  { name: 'node4', role: 'worker', plain: true },
] as const;
const MINUTE = 60_000;

let stage: RealStage;
const say = (line: string) => process.stderr.write(`${line}\n`);

beforeAll(async () => {
  stage = await startRealStage(NODES, say);
}, 10 * MINUTE);

afterAll(async () => {
  await stage?.stop();
}, 2 * MINUTE);

async function invariants(target: string, writes?: Record<string, number>): Promise<Invariant[]> {
  const { observer, rig } = stage;
  const now = await readNodes(rig.client);
  const nodes = now.nodes.filter(({ name }) => KAIROS.includes(name));
  const recordings = stage.recordings().filter(({ node }) => KAIROS.includes(node));
  const { moments, breaches } = observer;
  const evidence = { target, maxUnavailable: 1, moments, breaches, nodes, recordings, ...(writes && { writes }) };
  const all = checkInvariants({ ...evidence, kairosNodes: now.kairosNodes });
  return all.filter(({ broken }) => broken.length > 0);
}

/** As the pods of a program themselves say, in their metrics. */
async function residentMemoryMiB(program: string): Promise<number[]> {
  const label = `app.kubernetes.io/name=${program}`;
  const names = await stage.kubectl('get', 'pods', '-n', NAMESPACE, '-l', label, '-o', 'name');
  const read = async (pod: string) => {
    const path = `/api/v1/namespaces/${NAMESPACE}/pods/${pod.replace('pod/', '')}:8081/proxy/metrics`;
    const [, bytes] = /^process_resident_memory_bytes (\d+)$/m.exec(await stage.kubectl('get', '--raw', path)) ?? [];
    return Number(bytes) / 2 ** 20;
  };
  return Promise.all(names.split('\n').map(read));
}

describe('the operator on real nodes', () => {
  it(
    'is installed with helm, and then is ready',
    async () => {
      const tookMs = await stage.install();
      say(`helm install until ready: ${(tookMs / 1000).toFixed(1)} s`);
      await stage.observer.healthy();
    },
    6 * MINUTE,
  );

  it(
    'has a KairosNode for each Kairos machine, and none for another',
    async () => {
      const reported = () => [...stage.kairosNodes.values()].filter(({ status }) => status.bootID !== undefined);
      const nodes = await stage.until('agents report', reported, ({ length }) => length === KAIROS.length);
      expect(nodes.map(({ name }) => name).toSorted()).toEqual(KAIROS);
      expect(nodes.map(({ status }) => status.observedVersion)).toEqual(KAIROS.map(() => VERSIONS.old));
      const idle = await stage.kubectl('get', 'pods', '-n', 'kairos-agent', '--field-selector', 'spec.nodeName=node4');
      expect(idle).toMatch(/1\/1 +Running/);
    },
    MINUTE,
  );

  it(
    'shows its UI through a port-forward',
    async () => {
      const { port, close } = await stage.forward('service/kairos-temporal-web', 8080);
      try {
        const page = await fetch(`http://127.0.0.1:${port}/`);
        expect(page.status).toBe(200);
        expect(await page.text()).toContain('/_app/');
      } finally {
        close();
      }
    },
    MINUTE,
  );

  it(
    'answers helm test',
    async () => {
      const answer = await stage.helm('test', 'kairos-operator', '--namespace', NAMESPACE, '--timeout', '3m');
      expect(answer).toMatch(/Phase: +Succeeded/);
    },
    4 * MINUTE,
  );

  it(
    'gives an agent a token for its own report, and for nothing else',
    async () => {
      const { token, answers } = await tryAgentToken(stage, 'node3', 'node2');
      expect(token.node).toBe('node3');
      expect(answers).toEqual({
        'read its own KairosNode': 200,
        'report to its own KairosNode': 200,
        'report to another KairosNode': 403,
        'write a verdict': 403,
        'order an upgrade of its own node': 403,
        'list KairosNodes': 403,
        'list Nodes': 403,
        'read Secrets': 403,
        'cordon its Node': 403,
        'make a pod': 403,
      });
    },
    MINUTE,
  );

  it(
    'upgrades every node, the one with Temporal and the one with the API server among them',
    async () => {
      await stage.upgrade('all', IMAGES.new, { strategy: { soak: '2s' } });
      const rolloutID = await stage.rolloutID('all');
      const waits = () => stage.status('all')?.nodes?.inFlight ?? 0;
      await stage.until('a node is in hand', waits, (count) => count > 0, 2 * MINUTE);
      await stage.temporal(
        'workflow',
        'signal',
        '--workflow-id',
        rolloutID,
        '--name',
        'pause',
        '--input',
        '{"reason":"look"}',
      );
      const paused = () => stage.status('all')?.rollout?.paused;
      await stage.until('the rollout is paused', paused, (now) => now?.reason === 'look', 2 * MINUTE);
      await stage.until('the node in hand has ended', waits, (count) => count === 0, 3 * MINUTE);
      // The same from outside, as an administrator does it.
      const { port, close } = await stage.forward('service/kairos-temporal', 7233);
      try {
        const address = `127.0.0.1:${port}`;
        const update = [
          'workflow',
          'update',
          'execute',
          '--workflow-id',
          rolloutID,
          '--name',
          'resume',
          '--input',
          '{}',
        ];
        await stage.temporalCLI(address, ...update);
      } finally {
        close();
      }
      const status = await stage.ended('all', 6 * MINUTE);
      expect(status).toMatchObject({ phase: 'Completed', nodes: { summary: '3/3', inFlight: 0, failed: 0 } });
      expect(status.rollout?.verdicts).toEqual({ Succeeded: 3 });
      expect(await invariants(VERSIONS.new)).toEqual([]);
      const plain = stage.recordings().find(({ node }) => node === 'node4');
      expect(plain?.boots).toHaveLength(1);
    },
    12 * MINUTE,
  );

  it(
    'leaves no pod and no Job behind',
    async () => {
      const steps = () =>
        stage.kubectl('get', 'pods,jobs', '-n', NAMESPACE, '-l', 'kairos.io/upgrade-step', '-o', 'name');
      await stage.until('pods and Jobs of steps are gone', steps, (names) => names === '');
    },
    MINUTE,
  );

  it(
    'stops at the first node that falls back, with the cluster serving',
    async () => {
      const before = stage.recordings();
      await stage.upgrade('bad', IMAGES.bad, { strategy: { soak: '2s' } });
      const status = await stage.ended('bad', 6 * MINUTE);
      expect(status).toMatchObject({ phase: 'Failed', rollout: { verdicts: { RolledBack: 1 } } });
      const after = stage.recordings();
      const booted = after.filter(({ boots }, at) => boots.length !== before[at]?.boots.length).map(({ node }) => node);
      expect(booted).toEqual(['node1']);
      expect(after[0]?.boots.at(-1)?.slot).toBe('passive');
      const { nodes, kairosNodes } = await readNodes(stage.rig.client);
      expect(nodes.filter(({ ready, unschedulable, owner }) => !ready || unschedulable || owner !== undefined)).toEqual(
        [],
      );
      const fallen = kairosNodes.find(({ name }) => name === 'node1');
      expect(fallen?.status).toMatchObject({ observedVersion: VERSIONS.new, lastAttempt: { verdict: 'RolledBack' } });
      expect(stage.observer.breaches).toEqual([]);
    },
    8 * MINUTE,
  );

  it(
    'needs no more memory than its pods ask for, after two rollouts',
    async () => {
      for (const [name, requestMiB] of Object.entries({ watcher: 160, worker: 256 })) {
        const residentMiB = await residentMemoryMiB(`kairos-${name}`);
        say(
          `memory of each ${name}: ${residentMiB.map((one) => one.toFixed(0)).join(', ')} MiB, requested ${requestMiB}`,
        );
        expect(residentMiB).toHaveLength(2);
        expect(Math.max(...residentMiB)).toBeLessThan(requestMiB);
      }
    },
    MINUTE,
  );

  it(
    'is uninstalled, and leaves nothing cordoned and nothing of its own but the definitions',
    async () => {
      await stage.helm('uninstall', 'kairos-operator', '--namespace', NAMESPACE, '--wait', '--timeout', '5m');
      const { nodes } = await readNodes(stage.rig.client);
      expect(nodes.filter(({ unschedulable, owner }) => unschedulable || owner !== undefined)).toEqual([]);
      expect(await stage.ownObjects()).toEqual([
        'customresourcedefinition/kairosnodes.kairos.io',
        'customresourcedefinition/nodeopupgrades.operator.kairos.io',
      ]);
    },
    7 * MINUTE,
  );
});
