import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { CHECK_MANIFEST, CHECK_RIGHTS } from '../../check/rights.ts';
import type { Right } from '../../process/rights.ts';
import { NODE_LEASE_MANIFEST } from '../../process/needs.ts';
import { UNINSTALL_LEASE_RIGHTS, UNINSTALL_MANIFEST, UNINSTALL_RIGHTS } from '../../uninstall/rights.ts';
import { WATCHER_MANIFEST, WATCHER_RIGHTS } from '../../watcher/rights.ts';
import { NODE_LEASE_RIGHTS, WORKER_MANIFEST, WORKER_PATHS, WORKER_RIGHTS } from '../../worker/rights.ts';

interface Manifest {
  kind: string;
  rules?: {
    apiGroups?: string[];
    resources?: string[];
    verbs: string[];
    resourceNames?: string[];
    nonResourceURLs?: string[];
  }[];
}

/** One line for each verb, such as `ClusterRole: patch nodes`. */
function given(file: string): string[] {
  const documents = parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as Manifest);
  return documents.flatMap(({ kind, rules = [] }) =>
    rules.flatMap(({ apiGroups = [], resources = [], verbs, resourceNames = [''] }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) =>
          resourceNames.flatMap((name) => verbs.map((verb) => `${kind}: ${verb} ${resource}.${group} ${name}`.trim())),
        ),
      ),
    ),
  );
}

/** The paths that are no resources and may be read. */
function givenPaths(file: string): string[] {
  const documents = parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as Manifest);
  const rules = documents.flatMap((document) => document.rules ?? []).filter(({ verbs }) => verbs.includes('get'));
  return rules.flatMap(({ nonResourceURLs = [] }) => nonResourceURLs);
}

const asked = (rights: readonly Right[]) =>
  rights.flatMap(({ group, resource, name = '', verbs, where }) =>
    verbs.map((verb) => `${where === 'cluster' ? 'ClusterRole' : 'Role'}: ${verb} ${resource}.${group} ${name}`.trim()),
  );

describe('the rights that a process asks for at its start are those that its manifest gives, no more and no less:', () => {
  it.each([
    ['worker', WORKER_RIGHTS, WORKER_MANIFEST],
    ['watcher', WATCHER_RIGHTS, WATCHER_MANIFEST],
    ['uninstall', UNINSTALL_RIGHTS, UNINSTALL_MANIFEST],
    ['check', CHECK_RIGHTS, CHECK_MANIFEST],
  ] as const)('%s', (_, rights, manifest) => {
    const wanted = given(manifest);
    expect(wanted.length).toBeGreaterThan(0);
    expect(asked(rights).toSorted()).toEqual(wanted.toSorted());
  });

  it('worker, of what is no resource', () => {
    expect(givenPaths(WORKER_MANIFEST)).toEqual(WORKER_PATHS);
  });

  it('worker and uninstall program, on the Leases on nodes, where those are shared with other tools', () => {
    const rights = [...NODE_LEASE_RIGHTS, ...UNINSTALL_LEASE_RIGHTS];
    expect(asked(rights).toSorted()).toEqual(given(`${NODE_LEASE_MANIFEST}/rbac.yaml`).toSorted());
  });
});
