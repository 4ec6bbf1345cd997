import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readNodes } from '../../sim/read-nodes.ts';
import { tryAgentToken } from './agent-token.ts';
import { IMAGES, NAMESPACE, startRealStage, VERSIONS, type RealStage } from './stage.ts';

const NODES = [
  { name: 'node1', role: 'control-plane' },
  { name: 'node2', role: 'worker', temporal: true },
  { name: 'node3', role: 'worker' },
] as const;
const MINUTE = 60_000;
const FURTHER = 'fleet';

let stage: RealStage;
const say = (line: string) => process.stderr.write(`${line}\n`);

beforeAll(async () => {
  stage = await startRealStage(NODES, say, { nextTemporal: true });
  await stage.kubectl('create', 'namespace', FURTHER);
  await stage.kubectl('label', 'namespace', FURTHER, 'pod-security.kubernetes.io/enforce=privileged');
  await stage.install(...SERVED);
  await stage.observer.healthy();
}, 15 * MINUTE);

afterAll(async () => {
  await stage?.stop();
}, 2 * MINUTE);

const SERVED = ['--set', `namespaces={${FURTHER}}`];
const helmUpgrade = (...args: string[]) =>
  stage.helm('upgrade', 'kairos-operator', ...stage.values, '--wait', '--timeout', '5m', ...args);

const inHand = (name: string) => () => stage.status(name)?.nodes?.inFlight ?? 0;

async function expectAllInService(): Promise<void> {
  const { nodes } = await readNodes(stage.rig.client);
  expect(nodes.filter(({ ready, unschedulable, owner }) => !ready || unschedulable || owner !== undefined)).toEqual([]);
}

describe('while the operator works on real nodes', () => {
  it(
    'a cancel from the pod of Temporal puts the node in its drain back to service',
    async () => {
      const free = await stage.holdDrain('node3');
      const only = { nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'node3' } } };
      await stage.upgrade('cancelled', IMAGES.new, only);
      const cordoned = () => stage.observer.nodes.get('node3')?.unschedulable;
      await stage.until('node3 is cordoned', cordoned, (yes) => yes === true, 3 * MINUTE);
      await stage.temporal('workflow', 'cancel', '--workflow-id', await stage.rolloutID('cancelled'));
      const status = await stage.ended('cancelled', 3 * MINUTE);
      expect(status).toMatchObject({ phase: 'Cancelled', rollout: { verdicts: { Cancelled: 1 } } });
      await free();
      await expectAllInService();
      expect(stage.recordings().flatMap(({ upgradeRuns }) => upgradeRuns)).toEqual([]);
    },
    8 * MINUTE,
  );

  it(
    'an upgrade of the operator in the middle of a rollout disturbs neither',
    async () => {
      await stage.upgrade('through-helm', IMAGES.new, { strategy: { soak: '2s' } });
      await stage.until('a node is in hand', inHand('through-helm'), (count) => count > 0, 3 * MINUTE);
      await helmUpgrade(...SERVED, '--set', 'logLevel=debug');
      const status = await stage.ended('through-helm', 8 * MINUTE);
      expect(status).toMatchObject({ phase: 'Completed', rollout: { verdicts: { Succeeded: 3 } } });
      await expectAllInService();
      expect(stage.recordings().map(({ upgradeRuns }) => upgradeRuns.length)).toEqual([1, 1, 1]);
    },
    15 * MINUTE,
  );

  it(
    'another version of Temporal starts with an empty database, and the open rollout goes on',
    async () => {
      await stage.upgrade('through-temporal', IMAGES.newer, { strategy: { soak: '2s' } });
      await stage.until('a node is in hand', inHand('through-temporal'), (count) => count > 0, 3 * MINUTE);
      await helmUpgrade(...SERVED, '--set', `embeddedTemporal.image.tag=${stage.nextTemporalTag}`);
      const status = await stage.ended('through-temporal', 10 * MINUTE);
      expect(status).toMatchObject({ phase: 'Completed', nodes: { failed: 0 } });
      await expectAllInService();
      expect(stage.recordings().map(({ upgradeRuns }) => upgradeRuns.length)).toEqual([2, 2, 2]);
      const { kairosNodes } = await readNodes(stage.rig.client);
      expect(kairosNodes.map(({ status: { observedVersion } }) => observedVersion)).toEqual(
        NODES.map(() => VERSIONS.newer),
      );
      const files = await stage.kubectl('exec', '-n', NAMESPACE, 'kairos-temporal-0', '--', 'ls', '/data');
      expect(files.split('\n').filter((name) => /^temporal-.*\.db$/.test(name))).toHaveLength(2);
    },
    15 * MINUTE,
  );

  it(
    'the namespace of a running upgrade is deleted, and the node is taken to its verdict',
    async () => {
      const body = {
        apiVersion: 'operator.kairos.io/v1alpha1',
        kind: 'NodeOpUpgrade',
        metadata: { name: 'orphan', namespace: FURTHER },
        spec: {
          image: IMAGES.new,
          nodeSelector: { matchLabels: { 'kubernetes.io/hostname': 'node3' } },
          strategy: { soak: '2s' },
        },
      };
      const path = `/apis/operator.kairos.io/v1alpha1/namespaces/${FURTHER}/nodeopupgrades`;
      await stage.rig.client.request({ verb: 'create', path, body });
      const writes = () => stage.rig.machine('node3').disk.writes();
      const before = writes().length;
      await stage.until('the image is being written', writes, ({ length }) => length > before, 4 * MINUTE);
      await stage.kubectl('delete', 'namespace', FURTHER, '--wait=false');
      const written = await stage.until(
        'the write has ended',
        writes,
        (all) => all.at(-1)?.exitCode !== undefined,
        MINUTE,
      );
      expect(written.at(-1)?.exitCode).toBe(0);
      const verdict = () => stage.kairosNodes.get('node3')?.status;
      await stage.until(
        'node3 has its verdict',
        verdict,
        (status) => status?.lastAttempt?.verdict === 'Succeeded' && status.observedVersion === VERSIONS.new,
        5 * MINUTE,
      );
      await stage.until(
        'node3 is in service',
        () => stage.observer.nodes.get('node3'),
        (node) => node?.unschedulable === false && node.owner === undefined,
      );
      const namespace = () => stage.kubectl('get', 'namespace', FURTHER, '--ignore-not-found', '-o', 'name');
      await stage.until('the namespace is gone', namespace, (name) => name === '', 3 * MINUTE);
    },
    12 * MINUTE,
  );

  it(
    'an audience of their own is in the tokens of the agents, which report with it',
    async () => {
      await helmUpgrade('--set', 'agent.tokenAudience=kairos-rig');
      await stage.kubectl('rollout', 'status', '-n', 'kairos-agent', 'daemonset/kairos-agent', '--timeout=2m');
      const { token, answers } = await tryAgentToken(stage, 'node2', 'node1');
      expect(token).toEqual({ audiences: ['kairos-rig'], node: 'node2' });
      expect(answers).toMatchObject({ 'report to its own KairosNode': 200, 'report to another KairosNode': 403 });
    },
    8 * MINUTE,
  );
});
