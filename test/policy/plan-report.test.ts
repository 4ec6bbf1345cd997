import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { NodeRef } from '../../api/messages.ts';
import type { Plan } from '../../api/plan-messages.ts';
import { RISK_EFFECTS, planStatus } from '../../api/schemas/plan.ts';
import { type PlanFindings, planReport, planStatusOf } from '../../policy/plan-report.ts';
import { planMarkdown, planTable } from '../../policy/plan-text.ts';

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

  it('counts no time for nodes that will not be touched', () => {
    const one = { measured: [{ controlPlane: false, ms: 60_000 }], touched: new Set(['worker-1']) };
    expect(planReport(plan, found(plan, one)).duration?.typicalMs).toBe(60_000);
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
