import type { PlanReport, PlanRisk } from '../api/plan-messages.ts';
import { formatDuration } from './duration.ts';

/** Nodes and risks that a text names; the report has more. */
const ROWS = 50;
const RISKS = 15;
/** Characters of one cell, of one risk, and of the whole as the resource holds it. */
const CELL = 100;
const RISK = 400;
const WHOLE = 12_000;

const many = (count: number, what: string) => (count === 1 ? `1 ${what}` : `${count} ${what}s`);

/** The plan in one line. */
export function planSummary(report: PlanReport): string {
  const { total, waves, riskCount, leftAloneCount, refused } = report;
  const parts = [
    `${many(total, 'node')} in ${many(waves.length, 'wave')} to ${report.version ?? report.image}`,
    durationText(report),
    ...(leftAloneCount === 0 ? [] : [`${leftAloneCount} left alone`]),
    riskCount === 0 ? 'no risks seen' : risksText(report),
  ];
  return `${parts.join('; ')}${refused === undefined ? '' : `; it would be refused: ${refused}`}`.slice(0, 1000);
}

/** How long it takes; `not known yet` where nothing was measured in this cluster. */
function durationText({ duration }: PlanReport): string {
  if (duration === undefined) return 'duration not known yet: no node of this cluster was upgraded before';
  const { typicalMs, longMs, upgrades } = duration;
  return `about ${formatDuration(typicalMs)}, up to ${formatDuration(longMs)} (by ${many(upgrades, 'upgrade')} of this cluster)`;
}

function risksText({ risks, riskCount }: PlanReport): string {
  const counts = Map.groupBy(risks, ({ effect }) => effect);
  return `${many(riskCount, 'risk')} (${[...counts].map(([effect, of]) => `${of.length} ${effect}`).join(', ')})`;
}

const waveText = ({ name, nodes, maxUnavailable, soakMs, approval }: PlanReport['waves'][number]) =>
  [
    `${name}: ${many(nodes, 'node')}, ${maxUnavailable} at once`,
    ...(soakMs === undefined ? [] : [`soak ${formatDuration(soakMs)}`]),
    ...(approval === true ? ['starts when approved'] : []),
  ].join(', ');

const riskText = ({ effect, reason, message }: PlanRisk) => `${effect} (${reason}): ${message}`.slice(0, RISK);

const HEADS = ['NODE', 'WAVE', 'FROM', 'TO', 'NOTE'] as const;

function cells(report: PlanReport): string[][] {
  return report.nodes
    .slice(0, ROWS)
    .map(({ name, wave, from, note }) =>
      [name, wave, from ?? '?', report.version ?? '?', note ?? ''].map((cell) => cell.slice(0, CELL)),
    );
}

const notShown = ({ total, nodes }: PlanReport) => total - Math.min(ROWS, nodes.length);

/** The plan for a terminal: columns of spaces, at most 12,000 characters. */
export function planTable(report: PlanReport): string {
  const rows = [[...HEADS], ...cells(report)];
  const widths = HEADS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const table = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return textOf(report, table);
}

/** The same for the Temporal UI. */
export function planMarkdown(report: PlanReport): string {
  const row = (row: readonly string[]) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const table = [row(HEADS), row(HEADS.map(() => '---')), ...cells(report).map(row)];
  return textOf(report, table, '- ');
}

function textOf(report: PlanReport, table: readonly string[], bullet = '  '): string {
  const list = (head: string, lines: readonly string[], of: number) =>
    of === 0
      ? []
      : [
          '',
          head,
          ...(bullet === '- ' ? [''] : []),
          ...lines.map((line) => `${bullet}${line}`),
          ...more(of - lines.length, bullet),
        ];
  const { waves, risks, riskCount, leftAlone, leftAloneCount, version, versionFrom, refused, image } = report;
  const left = notShown(report);
  const lines = [
    `Plan of ${report.plannedAt}: ${planSummary(report)}`,
    '',
    `Image ${image}, version ${version ?? 'not known'} (${versionFrom})`,
    ...(refused === undefined ? [] : ['', `Refused: ${refused}`]),
    ...list('Waves:', waves.map(waveText), waves.length),
    ...list('Risks:', risks.slice(0, RISKS).map(riskText), riskCount),
    ...list(
      'Left alone:',
      leftAlone.map(({ name, reason }) => `${name}: ${reason}`),
      leftAloneCount,
    ),
    '',
    ...table,
    ...(left === 0
      ? []
      : ['', `and ${many(left, 'more node')}: temporal workflow query --type plan has the first 200`]),
  ];
  const text = lines.join('\n');
  return text.length <= WHOLE ? text : `${text.slice(0, WHOLE - 20)}\n… cut here`;
}

const more = (count: number, bullet: string) => (count > 0 ? [`${bullet}and ${count} more`] : []);
