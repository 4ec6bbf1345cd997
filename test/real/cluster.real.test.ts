import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checkInvariants, type Invariant } from '../../sim/invariants.ts';
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
  const { observer, kairosNodes } = stage;
  const nodes = [...observer.nodes.values()].filter(({ name }) => KAIROS.includes(name));
  const recordings = stage.recordings().filter(({ node }) => KAIROS.includes(node));
  const { moments, breaches } = observer;
  const evidence = { target, maxUnavailable: 1, moments, breaches, nodes, recordings, ...(writes && { writes }) };
  const all = checkInvariants({ ...evidence, kairosNodes: [...kairosNodes.values()] });
  return all.filter(({ broken }) => broken.length > 0);
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
    'upgrades every node, the one with Temporal and the one with the API server among them',
    async () => {
      await stage.upgrade('all', IMAGES.new, { strategy: { soak: '2s' } });
      const status = await stage.ended('all', 6 * MINUTE);
      expect(status).toMatchObject({ phase: 'Completed', nodes: { summary: '3/3', inFlight: 0, failed: 0 } });
      expect(status.rollout?.verdicts).toEqual({ Succeeded: 3 });
      expect(await invariants(VERSIONS.new)).toEqual([]);
      const [plain] = stage.recordings().filter(({ node }) => node === 'node4');
      expect(plain?.boots).toHaveLength(1);
    },
    7 * MINUTE,
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
});
