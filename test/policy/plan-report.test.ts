import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { NodeRef } from '../../api/messages.ts';
import type { Plan } from '../../api/plan-messages.ts';
import { RISK_EFFECTS, planStatus } from '../../api/schemas/plan.ts';
import { type PlanFindings, planReport, planStatusOf } from '../../policy/plan-report.ts';
import { risk } from '../../policy/plan-risks.ts';
import { planMarkdown, planTable } from '../../policy/plan-text.ts';
import { composeWaves } from '../../policy/waves.ts';

const refs = (count: number, prefix: string): NodeRef[] =>
  Array.from({ length: count }, (_, n) => ({ name: `${prefix}-${n + 1}`, uid: `${prefix}${n}` }));
const planOf = (controlPlane: number, workers: number, more: Partial<Plan> = {}): Plan => ({
  controlPlane: refs(controlPlane, 'cp'),
  workers: refs(workers, 'worker'),
  leftAlone: [],
  maxUnavailable: 2,
  ...more,
});
const touched = (plan: Plan) => new Set([...plan.controlPlane, ...plan.workers].map(({ name }) => name));
const found = (plan: Plan, more: Partial<PlanFindings> = {}): PlanFindings => ({
  atMs: Date.parse('2026-03-01T10:00:00Z'),
  image: 'quay.io/kairos/hadron:v4.0.3',
  versionFrom: 'read at the first pull',
  risks: [],
  from: new Map(),
  notes: new Map(),
  touched: touched(plan),
  measured: [],
  ...more,
});
const REQUEST = {
  kind: 'NodeOpUpgrade',
  namespace: 'fleet',
  name: 'v4',
  uid: 'u',
  generation: 2,
  attempt: 3,
} as const;

describe('a plan in words', () => {
  const plan = planOf(1, 3, { leftAlone: [{ name: 'nas', reason: 'NotKairos: its agent has found nothing' }] });
  const report = planReport(
    plan,
    found(plan, {
      version: 'v4.0.3',
      versionFrom: 'read on cp-1',
      from: new Map([['cp-1', 'v4.0.2']]),
      notes: new Map([['worker-2', ['refused: a pod | without a controller', 'waits: node worker-2 is not Ready']]]),
      risks: [
        { effect: 'Loses', reason: 'EmptyDirData', count: 2, message: 'data goes' },
        { effect: 'Refuses', reason: 'NodeRefused', count: 1, message: 'worker-2 would end as Failed' },
      ],
      measured: [{ controlPlane: false, ms: 300_000 }],
    }),
  );

  it('is a table of the nodes in their order, under all that matters', () => {
    expect(planTable(report)).toBe(
      [
        'Plan of 2026-03-01T10:00:00.000Z: 4 nodes in 2 waves to v4.0.3; about 15m00s, up to 15m00s (by 1 upgrade of this cluster); 1 left alone; 2 risks (1 Refuses, 1 Loses)',
        '',
        'Image quay.io/kairos/hadron:v4.0.3, version v4.0.3 (read on cp-1)',
        '',
        'Waves:',
        '  control-plane: 1 node, 1 at once',
        '  workers: 3 nodes, 2 at once',
        '',
        'Risks:',
        '  Refuses (NodeRefused): worker-2 would end as Failed',
        '  Loses (EmptyDirData): data goes',
        '',
        'Left alone:',
        '  nas: NotKairos: its agent has found nothing',
        '',
        'NODE      WAVE           FROM    TO      NOTE',
        'cp-1      control-plane  v4.0.2  v4.0.3',
        'worker-1  workers        ?       v4.0.3',
        'worker-2  workers        ?       v4.0.3  refused: a pod | without a controller; waits: node worker-2 is not Ready',
        'worker-3  workers        ?       v4.0.3',
      ].join('\n'),
    );
  });

  it('is markdown for the Temporal UI, whose cells no text breaks', () => {
    const text = planMarkdown(report);
    expect(text).toContain('| NODE | WAVE | FROM | TO | NOTE |\n| --- | --- | --- | --- | --- |\n| cp-1 |');
    expect(text).toContain(String.raw`a pod \| without`);
    expect(text).toContain('Risks:\n\n- Refuses (NodeRefused)');
  });

  it('says what it does not know', () => {
    const text = planTable(planReport(plan, found(plan)));
    expect(text).toContain('duration not known yet: no node of this cluster was upgraded before');
    expect(text).toContain('version not known (read at the first pull)');
    expect(text).toContain('no risks seen');
  });

  it('says how many nodes will not be touched, and where there is nothing to do', () => {
    const summary = (...names: string[]) =>
      planTable(planReport(plan, found(plan, { touched: new Set(names) }))).split('\n')[0];
    expect(summary('cp-1', 'worker-1')).toContain('2 waves to quay.io/kairos/hadron:v4.0.3; 2 of them not touched; ');
    expect(summary()).toMatch(/: 4 nodes in 2 waves to \S+; nothing to do; 1 left alone; no risks seen$/);
  });

  it('counts no time for nodes that will not be touched', () => {
    const one = { measured: [{ controlPlane: false, ms: 60_000 }], touched: new Set(['worker-1']) };
    expect(planReport(plan, found(plan, one)).duration?.typicalMs).toBe(60_000);
    const [canary, rest] = [refs(1, 'canary'), refs(1, 'worker')];
    const soaked = planOf(0, 0, {
      waves: [
        { name: 'canary', group: 'worker', nodes: canary, budget: 1, soakMs: 300_000 },
        { name: 'workers', group: 'worker', nodes: rest, budget: 1 },
      ],
    });
    expect(planReport(soaked, found(soaked, one)).duration?.typicalMs).toBe(60_000);
    const both = { ...one, touched: new Set(['canary-1', 'worker-1']) };
    expect(planReport(soaked, found(soaked, both)).duration?.typicalMs).toBe(420_000);
  });
});

const text = fc.string({ maxLength: 2_000 });
const anyFindings = fc.record({
  controlPlane: fc.nat(5),
  workers: fc.nat(3_000),
  leftAlone: fc.nat(300),
  risks: fc.array(
    fc.record({
      effect: fc.constantFrom(...RISK_EFFECTS),
      reason: fc.constant('NotTried' as const),
      count: fc.nat(),
      message: text.map((long) => long.slice(0, 950)),
    }),
    { maxLength: 80 },
  ),
  note: text,
  version: fc.option(
    text.map((long) => long.slice(0, 200)),
    { nil: undefined },
  ),
  refused: fc.option(text, { nil: undefined }),
});

it('a plan of any size fits into the resource, says how much it leaves out, and has every node in one wave', () => {
  fc.assert(
    fc.property(anyFindings, ({ controlPlane, workers, leftAlone, risks, note, version, refused }) => {
      const plan = planOf(controlPlane, workers, {
        leftAlone: refs(leftAlone, 'alone').map(({ name }) => ({ name, reason: note })),
      });
      const report = planReport(
        plan,
        found(plan, {
          risks,
          notes: new Map([...touched(plan)].map((name) => [name, [note, note]])),
          ...(version === undefined ? {} : { version }),
          ...(refused === undefined ? {} : { refused }),
        }),
      );
      const status = planStatusOf(report, REQUEST);
      expect(planStatus.safeParse(status).error).toBeUndefined();
      expect(JSON.stringify(report).length).toBeLessThan(200_000);
      expect(status.waves?.reduce((sum, { nodes }) => sum + nodes, 0)).toBe(controlPlane + workers);
      expect(status.total).toBe(controlPlane + workers);
      expect(status.riskCount).toBe(risks.length);
      expect(status.leftAloneCount).toBe(leftAlone);
      expect(report.nodes).toHaveLength(Math.min(200, controlPlane + workers));
      expect(planMarkdown(report).length).toBeLessThanOrEqual(12_000);
    }),
    { numRuns: 60 },
  );
});

describe('a plan of many nodes', () => {
  const LABEL = 63;
  const long = (prefix: string, n: number, length: number) => `${prefix}-${n}-`.padEnd(length, 'x');
  const uid = (n: number) => `${n}`.padStart(8, '0').padEnd(36, '-0000');
  const workers = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ name: long('worker', n, LABEL), uid: uid(n), labels: {} }));
  /** Everything as long as it gets. */
  const largest = (count: number) => {
    const plan: Plan = {
      controlPlane: [],
      workers: [],
      maxUnavailable: 1,
      waves: composeWaves({ controlPlane: [], workers: workers(count) }, STRATEGY),
      leftAlone: workers(count).map(({ name }) => ({ name, reason: 'y'.repeat(1_000) })),
    };
    const risks = RISK_EFFECTS.flatMap((effect) =>
      Array.from({ length: 20 }, () => risk(effect, 'NotTried', 1, 'z'.repeat(2_000))),
    );
    const names = workers(count).map(({ name }) => name);
    const all = <T>(value: T) => new Map(names.map((name) => [name, value]));
    return planReport(
      plan,
      found(plan, {
        risks,
        image: 'i'.repeat(1_000),
        version: 'v'.repeat(200),
        versionFrom: 'w'.repeat(2_000),
        refused: 'r'.repeat(2_000),
        from: all('f'.repeat(200)),
        notes: all(['n'.repeat(1_000)]),
      }),
    );
  };
  const STRATEGY = {
    maxUnavailable: 1,
    stopOnFailure: true,
    waves: Array.from({ length: 20 }, (_, n) => ({
      name: long('wave', n, 40),
      nodes: 1,
      soakMs: 1,
      approval: true as const,
    })),
  };

  it.each([1_000, 10_000])('has %d of them in 85,000 characters of the resource: etcd takes 1.5 MB', (count) => {
    const status = { ...planStatusOf(largest(count), REQUEST), asked: 'a'.repeat(4_000) };
    expect(status).toMatchObject({ total: count, leftAloneCount: count, riskCount: 100 });
    expect(JSON.stringify(status).length).toBeLessThan(85_000);
    expect(planStatus.safeParse(status).error).toBeUndefined();
  });

  it('has 10,000 of them in one answer to Temporal, which takes 2 MB', () => {
    const waves = composeWaves({ controlPlane: [], workers: workers(10_000) }, STRATEGY);
    const plan: Plan = { controlPlane: [], workers: [], maxUnavailable: 1, leftAlone: [], waves };
    expect(JSON.stringify({ ...plan, report: largest(10_000) }).length).toBeLessThan(1_500_000);
  });

  it('always has some of them in its table, and says how many it leaves out', () => {
    const { table, summary } = planStatusOf(largest(1_000), REQUEST);
    expect(summary).toContain('100 risks (the worst 30: 20 Refuses, 10 Waits)');
    const rows = table.split('\n').filter((line) => line.startsWith('worker-'));
    expect(rows.length).toBeGreaterThan(2);
    expect(table).toContain(`and ${1_000 - rows.length} more nodes`);
    expect(planMarkdown(largest(1_000))).toMatch(/and 9\d\d more nodes/);
  });

  it('leaves none of fifty out where there is room', () => {
    const plan = planOf(0, 60);
    const table = planTable(planReport(plan, found(plan)));
    expect(table.split('\n').filter((line) => line.startsWith('worker-'))).toHaveLength(50);
    expect(table).toContain('and 10 more nodes');
  });

  it('keeps a note of several lines in its row', () => {
    const plan = planOf(0, 1);
    const notes = new Map([['worker-1', ['refused: admission webhook\n  says | no']]]);
    expect(planTable(planReport(plan, found(plan, { notes })))).toMatch(
      /^worker-1 .* refused: admission webhook says \| no$/m,
    );
  });
});
