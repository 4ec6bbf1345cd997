import type { AttemptEvidence } from '../api/types.ts';
import { versionOf } from './release.ts';
import type { Evidence } from './verdict.ts';

/**
 * What is kept of the evidence behind a verdict. A report of another boot than the one in which the node is says nothing
 * about it: then only the Node's own word is kept.
 */
export function evidenceKept(
  { node, report, sourceBootID }: Pick<Evidence, 'node' | 'report' | 'sourceBootID'>,
  by: 'agent' | 'pod',
  atMs: number,
): AttemptEvidence {
  const seen: AttemptEvidence = {
    ...(node.bootID === '' ? {} : { bootID: node.bootID }),
    ready: node.ready,
    at: new Date(atMs).toISOString(),
  };
  if (report?.bootID === undefined || report.bootID !== node.bootID) return seen;
  const version = report.release === undefined ? undefined : versionOf(report.release);
  const stamp = report.stamp === undefined ? 'none' : report.stamp.sourceBootID === sourceBootID ? 'matches' : 'other';
  return {
    ...seen,
    by,
    bootState: report.bootState ?? 'unknown',
    stamp,
    ...(version === undefined ? {} : { version }),
  };
}
