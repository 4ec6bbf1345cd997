import type { PlanReport, PlanRisk } from '../api/plan-messages.ts';
import { formatDuration } from './duration.ts';

/** Nodes and risks that a text names; the report has more. */
const ROWS = 50;
const RISKS = 15;
/** Characters of one cell, of one risk, of what is above the nodes, and of the whole as the resource holds it. */
const CELL = 100;
const RISK = 400;
const HEAD = 8_000;
const WHOLE = 12_000;
/** As much of the whole is kept for what is said of the nodes that it has no room for. */
const LAST_WORDS = 150;

const many = (count: number, what: string) => (count === 1 ? `1 ${what}` : `${count} ${what}s`);
/** On one line: what others say, such as an admission webhook, may have several. */
const cut = (text: string, characters: number) => {
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length <= characters ? line : `${line.slice(0, characters - 1)}…`;
};

/** The plan in one line. */
export function planSummary(report: PlanReport): string {
  const { total, touched = total, waves, riskCount, leftAloneCount, refused } = report;
  const parts = [
    `${many(total, 'node')} in ${many(waves.length, 'wave')} to ${report.version ?? report.image}`,
    ...(touched === total || touched === 0 ? [] : [`${total - touched} of them not touched`]),
    touched === 0 ? 'nothing to do' : durationText(report),
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
  const counts = [...Map.groupBy(risks, ({ effect }) => effect)].map(([effect, of]) => `${of.length} ${effect}`);
  const of = riskCount > risks.length ? `the worst ${risks.length}: ` : '';
  return `${many(riskCount, 'risk')} (${of}${counts.join(', ')})`;
}

const waveText = ({ name, nodes, maxUnavailable, soakMs, approval }: PlanReport['waves'][number]) =>
  [
    `${name}: ${many(nodes, 'node')}, ${maxUnavailable} at once`,
    ...(soakMs === undefined ? [] : [`soak ${formatDuration(soakMs)}`]),
    ...(approval === true ? ['starts when approved'] : []),
  ].join(', ');

const riskText = ({ effect, reason, message }: PlanRisk) => cut(`${effect} (${reason}): ${message}`, RISK);

const HEADS = ['NODE', 'WAVE', 'FROM', 'TO', 'NOTE'] as const;

function cells(report: PlanReport): string[][] {
  return report.nodes
    .slice(0, ROWS)
    .map(({ name, wave, from, note }) =>
      [name, wave, from ?? '?', report.version ?? '?', note ?? ''].map((cell) => cut(cell, CELL)),
    );
}

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

/** As many of the lines, from the first on, as have room. */
function fitting(lines: readonly string[], characters: number): string[] {
  const kept: string[] = [];
  let used = 0;
  for (const line of lines) {
    used += line.length + 1;
    if (used > characters) break;
    kept.push(line);
  }
  return kept;
}

/** Whatever is above them, the first nodes have room; how many are left out is said. */
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
  const lines = [
    `Plan of ${report.plannedAt}: ${planSummary(report)}`,
    '',
    `Image ${image}, version ${version ?? 'not known'} (${versionFrom})`,
    ...(refused === undefined ? [] : ['', `Refused: ${refused}`]),
    ...list('Waves:', waves.map(waveText), waves.length),
    ...list('Risks:', risks.slice(0, RISKS).map(riskText), riskCount),
    ...list(
      'Left alone:',
      leftAlone.map(({ name, reason }) => cut(`${name}: ${reason}`, RISK)),
      leftAloneCount,
    ),
  ];
  const head = fitting(lines, HEAD);
  if (head.length < lines.length) head.push('… cut here: status.plan has more of it');
  const used = head.join('\n').length;
  const rows = fitting(table, WHOLE - LAST_WORDS - used);
  const heads = table.length - Math.min(ROWS, report.nodes.length);
  const left = report.total - Math.max(0, rows.length - heads);
  const last = `and ${many(left, 'more node')}: temporal workflow query --type plan has the first 200`;
  return [...head, '', ...rows, ...(left === 0 ? [] : ['', last])].join('\n');
}

const more = (count: number, bullet: string) => (count > 0 ? [`${bullet}and ${count} more`] : []);
