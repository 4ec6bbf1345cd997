import { describe, expect, it } from '@jest/globals';
import type { KairosNodeStatus } from '../../api/types.ts';
import {
  type ImageUse,
  type JudgedNode,
  type KnownTarget,
  judgeTarget,
  knownTargets,
  targetRisks,
  targetText,
} from '../../policy/plan-target.ts';

const IMAGE = 'quay.io/kairos/hadron:v4.0.3';
const fieldsOf = (kubernetes: string, more: Record<string, string> = {}) => ({
  KAIROS_VERSION: 'v4.0.3',
  KAIROS_SOFTWARE_VERSION: kubernetes,
  KAIROS_SOFTWARE_VERSION_PREFIX: 'k3s',
  ...more,
});
const target = (kubernetes: string, more: Partial<KnownTarget> = {}): KnownTarget => ({
  architecture: 'amd64',
  version: `v4.0.3-k3s${kubernetes}`,
  fields: fieldsOf(kubernetes),
  from: 'read on worker-1',
  ...more,
});
const node = (name: string, kubeletVersion: string, more: Partial<JudgedNode> = {}): JudgedNode => ({
  name,
  controlPlane: name.startsWith('cp'),
  architecture: 'amd64',
  kubeletVersion,
  status: { release: { ...fieldsOf(kubeletVersion), KAIROS_VERSION: 'v4.0.2' }, bootState: 'active' },
  ...more,
});
const USE: ImageUse = { force: false, upgradeActive: true };
const judge = (nodes: JudgedNode[], targets: KnownTarget[], planned: string[], use = USE, server?: string) => {
  const { refused, onTarget, whole } = judgeTarget(targets, nodes, new Set(planned), use, server);
  return { refused: Object.fromEntries(refused), onTarget: [...onTarget], whole };
};

const OLD = 'v1.33.9+k3s1';
const NEXT = 'v1.34.1+k3s1';
const FAR = 'v1.35.0+k3s1';

describe('what an image means for the nodes of a plan', () => {
  it('is nothing to say where it fits', () => {
    expect(judge([node('cp-1', OLD), node('worker-1', OLD)], [target(NEXT)], ['cp-1', 'worker-1'])).toEqual({
      refused: {},
      onTarget: [],
      whole: undefined,
    });
  });

  it('is that workers would be newer than a control plane that is no part of the plan', () => {
    const { refused, whole } = judge([node('cp-1', OLD), node('worker-1', OLD)], [target(NEXT)], ['worker-1']);
    expect(whole).toContain('newer than the control plane');
    expect(Object.keys(refused)).toEqual(['worker-1']);
  });

  it('is the same where one of three control-plane nodes is left out', () => {
    const nodes = [node('cp-1', OLD), node('cp-2', OLD), node('cp-3', OLD), node('worker-1', OLD)];
    expect(judge(nodes, [target(NEXT)], ['cp-1', 'cp-2', 'worker-1']).whole).toContain('newer than the control plane');
    expect(judge(nodes, [target(NEXT)], ['cp-1', 'cp-2', 'cp-3', 'worker-1']).whole).toBeUndefined();
  });

  it('is that no worker may go before the control plane where the minor changes', () => {
    const nodes = [node('cp-1', OLD), node('worker-1', OLD)];
    const early = { ...USE, canaryWorkerFirst: true } as const;
    const { whole, refused } = judge(nodes, [target(NEXT)], ['cp-1', 'worker-1'], early);
    expect(whole).toContain('take strategy.controlPlane.canaryWorkerFirst out');
    expect(Object.keys(refused)).toEqual(['worker-1']);
    const same = target(OLD, { version: 'v4.0.4', fields: { ...fieldsOf(OLD), KAIROS_VERSION: 'v4.0.4' } });
    expect(judge(nodes, [same], ['cp-1', 'worker-1'], early).whole).toBeUndefined();
    // Without a control plane in the plan none goes before it.
    expect(
      judge([node('cp-1', NEXT), node('worker-1', OLD)], [target(NEXT)], ['worker-1'], early).whole,
    ).toBeUndefined();
  });

  it('is a minor that the control plane skips, which refuses its nodes', () => {
    const { refused } = judge([node('cp-1', OLD)], [target(FAR)], ['cp-1']);
    expect(refused['cp-1']).toContain('skips a minor');
  });

  it('is judged by the API server where no control-plane node is visible', () => {
    const nodes = [node('worker-1', OLD)];
    expect(judge(nodes, [target(NEXT)], ['worker-1'], USE, OLD).whole).toContain('newer than the control plane');
    expect(judge(nodes, [target(NEXT)], ['worker-1'], USE, NEXT).whole).toBeUndefined();
  });

  it('is that a node of another model is refused, unless that is meant', () => {
    const other = { release: fieldsOf(OLD, { KAIROS_MODEL: 'rpi4' }) };
    const nodes = [node('worker-1', OLD, { status: other })];
    const targets = [target(OLD, { version: 'v4.0.4', fields: fieldsOf(OLD, { KAIROS_MODEL: 'generic' }) })];
    expect(judge(nodes, targets, ['worker-1']).refused['worker-1']).toContain('model');
    expect(judge(nodes, targets, ['worker-1'], { ...USE, allowMisfit: ['Model'] }).refused).toEqual({});
  });

  it('is that nodes on the target are left alone, unless forced', () => {
    const status: KairosNodeStatus = { release: fieldsOf(OLD), bootState: 'active' };
    const nodes = [node('worker-1', OLD, { status })];
    expect(judge(nodes, [target(OLD)], ['worker-1']).onTarget).toEqual(['worker-1']);
    expect(judge(nodes, [target(OLD)], ['worker-1'], { ...USE, force: true }).onTarget).toEqual([]);
  });

  it('is not known of machines of another architecture than those that were read', () => {
    const nodes = [node('worker-1', OLD, { architecture: 'arm64' })];
    expect(judge(nodes, [target(FAR)], ['worker-1'])).toEqual({ refused: {}, onTarget: [], whole: undefined });
  });
});

it('what refuses all workers is one risk, and beside it what refuses a single node', () => {
  const nodes = [node('cp-1', OLD), node('worker-1', OLD), node('worker-2', OLD)];
  const verdicts = judgeTarget([target(FAR)], nodes, new Set(['worker-1', 'worker-2']), USE);
  expect(targetRisks(verdicts).map(({ reason, count }) => `${reason} ${count}`)).toEqual(['RolloutRefused 2']);
});

describe('what is known of an image before it is pulled', () => {
  const ran = (verdict: 'Succeeded' | 'RolledBack', version: string, image = IMAGE): KairosNodeStatus => ({
    release: fieldsOf(OLD),
    lastAttempt: { rollout: 'r', specGeneration: 1, image, verdict, version, finishedAt: '2026-03-01T10:00:00Z' },
  });
  const version = `v4.0.3-k3s${OLD}`;

  it('is what a node runs that was upgraded to it', () => {
    const [known, ...more] = knownTargets(IMAGE, [
      node('a', OLD, { status: ran('Succeeded', version) }),
      node('b', OLD, { status: ran('Succeeded', version) }),
    ]);
    expect(more).toEqual([]);
    expect(known).toMatchObject({ version, architecture: 'amd64', from: 'as a got it at 2026-03-01T10:00:00Z' });
  });

  it.each([
    ['the upgrade failed', ran('RolledBack', version)],
    ['the node runs something else by now', ran('Succeeded', 'v4.0.1-k3sv1.32.0+k3s1')],
    ['it was another image', ran('Succeeded', version, 'quay.io/kairos/hadron:v4.0.2')],
    ['it never was upgraded', { release: fieldsOf(OLD) }],
  ])('is nothing where %s', (_, status) => expect(knownTargets(IMAGE, [node('a', OLD, { status })])).toEqual([]));

  it('is told in words', () => {
    expect(targetText([])).toEqual({ from: 'read at the first pull' });
    expect(targetText([target(OLD)])).toEqual({ version, from: 'read on worker-1' });
    const arm = target(NEXT, { architecture: 'arm64', from: 'read on worker-9' });
    expect(targetText([target(OLD), arm])).toEqual({
      version: `${version} (amd64), v4.0.3-k3s${NEXT} (arm64)`,
      from: 'amd64: read on worker-1; arm64: read on worker-9',
    });
  });
});
