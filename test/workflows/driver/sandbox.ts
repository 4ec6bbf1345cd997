import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, renameSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';
import { TypedSearchAttributes, type WorkflowExecution } from '@temporalio/common';
import type { Workflow, WorkflowCreateOptions } from '@temporalio/worker/lib/workflow/interface.js';
import { ReusableVMWorkflowCreator } from '@temporalio/worker/lib/workflow/reusable-vm.js';

const ROOT = path.join(import.meta.dirname, '../../..');
const BUNDLE = path.join(ROOT, 'build/test/workflow-bundle.js');

/** What a workflow may ask about itself. */
export interface Identity {
  id: string;
  runID: string;
  type: string;
  parent?: WorkflowExecution;
  root?: WorkflowExecution;
  firstRunID: string;
  continuedFrom?: string;
}

/** Makes sandboxes of one bundle; two of them share nothing. */
export class SandboxFactory {
  readonly #creator: ReusableVMWorkflowCreator;

  constructor(code: string, activities: ReadonlySet<string>) {
    const filename = BUNDLE;
    const bundle = { code, filename } as ConstructorParameters<typeof ReusableVMWorkflowCreator>[1];
    const script = new vm.Script(code, { filename });
    // Not ReusableVMWorkflowCreator.create(): that also records the stack of every promise, for stack trace queries.
    // Nor with a time limit: that starts a thread for each call into the sandbox, which is most of the time.
    const noLimit = undefined as unknown as number;
    this.#creator = new ReusableVMWorkflowCreator(script, bundle, noLimit, new Set(activities));
  }

  async open(identity: Identity, startedAt: number): Promise<Workflow> {
    // The same ids give the same random numbers, whichever test comes first.
    const seed = createHash('sha256').update(`${identity.id} ${identity.type}`).digest();
    const options = {
      info: info(identity, startedAt),
      randomnessSeed: [...seed.subarray(0, 8)],
      now: startedAt,
      showStackTraceSources: false,
      failureExceptionTypeNames: [],
    };
    return this.#creator.createWorkflow(options as unknown as WorkflowCreateOptions);
  }
}

function info(identity: Identity, startedAt: number) {
  const namespace = 'default';
  return {
    workflowId: identity.id,
    runId: identity.runID,
    workflowType: identity.type,
    searchAttributes: {},
    typedSearchAttributes: new TypedSearchAttributes(),
    parent: identity.parent === undefined ? undefined : { ...identity.parent, namespace },
    root: identity.root,
    taskQueue: 'driver',
    namespace,
    firstExecutionRunId: identity.firstRunID,
    originalExecutionRunId: identity.runID,
    continuedFromExecutionRunId: identity.continuedFrom,
    startTime: new Date(startedAt),
    runStartTime: new Date(startedAt),
    taskTimeoutMs: 10_000,
    attempt: 1,
    historyLength: 1,
    historySize: 0,
    continueAsNewSuggested: false,
    targetWorkerDeploymentVersionChanged: false,
    suggestedContinueAsNewReasons: [],
    currentBuildId: '',
    unsafe: { isReplaying: false, isReplayingHistoryEvents: false },
  };
}

/**
 * The workflow code as the worker bundles it. Kept in build/ under a hash of the sources, so that of all test processes
 * only the first one after a change waits for the bundler.
 */
export async function workflowBundle(): Promise<string> {
  const head = `// sources ${hashOfSources()}\n`;
  try {
    const kept = readFileSync(BUNDLE, 'utf8');
    if (kept.startsWith(head)) return kept;
  } catch {
    // Not built yet.
  }
  const { bundleWorkflows } = await import('../../../worker/bundle.ts');
  const built = await bundleWorkflows();
  // The source map is two thirds of it, and is only looked at for stack traces.
  const code = head + built.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  mkdirSync(path.dirname(BUNDLE), { recursive: true });
  const half = `${BUNDLE}.${process.pid}`;
  writeFileSync(half, code);
  renameSync(half, BUNDLE);
  return code;
}

function hashOfSources(): string {
  const hash = createHash('sha256');
  const files = ['worker/bundle.ts', 'package-lock.json'];
  for (const room of ['api', 'policy', 'workflows'])
    for (const name of readdirSync(path.join(ROOT, room), { recursive: true, encoding: 'utf8' }).sort())
      if (name.endsWith('.ts')) files.push(path.join(room, name));
  for (const file of files) hash.update(file).update(readFileSync(path.join(ROOT, file)));
  return hash.digest('hex');
}
