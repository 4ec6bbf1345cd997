import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { DeterminismViolationError } from '@temporalio/workflow';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { bundleWorkflows } from '../../worker/bundle.ts';

interface History {
  events: Record<string, Record<string, unknown> | undefined>[];
}

const FOLDER = path.join(import.meta.dirname, 'histories');
const FILES = readdirSync(FOLDER).filter((file) => file.endsWith('.json'));

let code: string;

beforeAll(async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
  code = await bundleWorkflows();
}, 60_000);

const read = (file: string) => JSON.parse(readFileSync(path.join(FOLDER, file), 'utf8')) as History;

function replay(history: History): Promise<void> {
  // Ids of children are made from the workflow's own id.
  const id = history.events[0]?.['workflowExecutionStartedEventAttributes']?.['workflowId'];
  return Worker.runReplayHistory({ workflowBundle: { code } }, history, String(id));
}

describe('the workflows as they are now', () => {
  it('have a recorded rollout, wave and node of each way to end', () => {
    for (const scenario of ['success', 'failure', 'cancel'])
      for (const workflow of ['rollout', 'wave', 'node'])
        expect(FILES.filter((file) => file.startsWith(`${scenario}-${workflow}`))).not.toEqual([]);
    expect(FILES).toContain('planned-plan.json');
  });

  /** Of these histories: what makes them worth keeping. */
  const HOLDS: Record<string, RegExp[]> = {
    'requests-rollout.json': [
      /"name": "approve"/,
      /"name": "skip"/,
      /"name": "retry"/,
      /UPDATE_COMPLETED/,
      /retry\.1"/,
    ],
    'requests-wave.json': [/"skipNode"/, /"retryNodes"/, /SIGNAL_EXTERNAL/],
    'abort-rollout.json': [/"name": "abort"/, /CHILD_WORKFLOW_EXECUTION_COMPLETED"/],
    'pause-wave.json': [/"pause"/, /"withdraw"/, /"resume"/],
    'pause-node.json': [/"withdraw"/, /"endNode"/],
    'continued-rollout-begun.json': [/CONTINUED_AS_NEW"/, /"waitForHealth"/],
    'continued-rollout.json': [/"soakWave"/, /"findJoined"/, /joined-1"/],
    'parts-wave.json': [/workers\.part-2"/, /"preceding"/, /"skipNode"/],
    'parts-wave-behind.json': [/"preceding"/, /"settleNode"/],
  };

  it.each(Object.entries(HOLDS))('have in %s what it was recorded for', (file, parts) => {
    const text = readFileSync(path.join(FOLDER, file), 'utf8');
    for (const part of parts) expect(text).toMatch(part);
  });

  it.each(FILES)('replay %s', async (file) => {
    await replay(read(file));
  });
});

describe('a workflow that another one had begun', () => {
  it('is refused when a step is another one', async () => {
    const history = read('success-node.json');
    const scheduled = history.events
      .map((event) => event['activityTaskScheduledEventAttributes'])
      .find((event) => (event?.['activityType'] as { name: string } | undefined)?.name === 'cordonNode');
    if (scheduled === undefined) throw new Error('success-node.json has no cordonNode');
    scheduled['activityType'] = { name: 'drainNode' };
    await expect(replay(history)).rejects.toThrow(DeterminismViolationError);
  });

  it('is refused when a child has another id', async () => {
    const history = read('success-wave.json');
    const initiated = history.events
      .map((event) => event['startChildWorkflowExecutionInitiatedEventAttributes'])
      .find((event) => event !== undefined);
    if (initiated === undefined) throw new Error('success-wave.json has no child');
    initiated['workflowId'] = 'node/another';
    await expect(replay(history)).rejects.toThrow(DeterminismViolationError);
  });

  it('is refused when it would have gone on where the history ends', async () => {
    const history = read('failure-rollout.json');
    const last = history.events.at(-1);
    if (last === undefined) throw new Error('failure-rollout.json is empty');
    delete last['workflowExecutionCompletedEventAttributes'];
    last['eventType'] = 'EVENT_TYPE_WORKFLOW_EXECUTION_FAILED' as never;
    last['workflowExecutionFailedEventAttributes'] = { failure: { message: 'ended another way' } };
    await expect(replay(history)).rejects.toThrow(DeterminismViolationError);
  });
});
