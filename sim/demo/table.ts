import type { KairosNodeView } from '../../kube/kairos-nodes.ts';
import type { NodeView } from '../../kube/nodes.ts';
import { formatDuration } from '../../policy/duration.ts';
import { orderNodes } from '../../policy/order.ts';

/** One row a node: what it ran, what it runs, how its upgrade ended and how long it was out. */
export function printTable(kairosNodes: readonly KairosNodeView[], nodes: readonly NodeView[]): void {
  const members = new Set(nodes.filter((node) => node.controlPlane).map(({ name }) => name));
  const { controlPlane, workers } = orderNodes(
    kairosNodes.map((node) => ({ ...node, controlPlane: members.has(node.name) })),
  );
  const rows = [...controlPlane, ...workers].map(({ name, status }) => {
    const { from = '', verdict = '', startedAt, finishedAt } = status.lastAttempt ?? {};
    const duration =
      startedAt === undefined || finishedAt === undefined
        ? ''
        : formatDuration(Date.parse(finishedAt) - Date.parse(startedAt));
    return [name, from, status.observedVersion ?? '', verdict, duration];
  });
  const head = ['NODE', 'FROM', 'TO', 'VERDICT', 'DURATION'];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  console.log('');
  for (const row of [head, ...rows])
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
}
