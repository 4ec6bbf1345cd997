import { CancelledFailure } from '@temporalio/common';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Activities } from '../activities/index.ts';
import type { GateAnswer, NodeResult } from '../api/messages.ts';

/** From one call to a step that waits for a slow machine. */
const STEP_BUCKETS = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200];

type Step = (input: never) => Promise<unknown>;

/**
 * The steps of an upgrade, counted. A step that is handed to another worker, or repeated, counts each time; a verdict
 * counts once for each node that ended, as long as its step was not repeated.
 */
export function observedActivities(activities: Activities, registry: Registry): Activities {
  const registers = [registry];
  const running = new Gauge({
    name: 'kairos_steps_running',
    help: 'Steps that this worker is in, by name. waitForPlace: nodes that wait at a gate; drainNode: that are drained.',
    labelNames: ['step'],
    registers,
  });
  const ended = new Counter({
    name: 'kairos_steps_total',
    help: 'Steps that ended in this worker: ok, cancelled (also when handed to another worker), or failed, to be tried again.',
    labelNames: ['step', 'result'],
    registers,
  });
  const seconds = new Histogram({
    name: 'kairos_step_duration_seconds',
    help: 'How long steps took that ended well.',
    labelNames: ['step'],
    buckets: STEP_BUCKETS,
    registers,
  });
  const gates = new Counter({
    name: 'kairos_gate_answers_total',
    help: 'Answers of the gates right before a node is touched: Go, Wait, Done (nothing to do, or refused), Recover.',
    labelNames: ['answer'],
    registers,
  });
  const verdicts = new Counter({
    name: 'kairos_verdicts_total',
    help: 'Nodes that ended, by verdict: those that were taken out, and those that a gate ended.',
    labelNames: ['verdict'],
    registers,
  });

  const notice = (step: string, input: unknown, answer: unknown) => {
    if (step === 'checkGates') {
      const gate = answer as GateAnswer;
      gates.inc({ answer: gate.answer });
      if (gate.answer === 'Done' && gate.recorded !== true) verdicts.inc({ verdict: gate.verdict });
    }
    const isRecorded = (input as { unrecorded?: boolean }).unrecorded !== true;
    const { verdict } = (answer ?? {}) as Partial<NodeResult>;
    if (step === 'endNode' && isRecorded && verdict !== undefined) verdicts.inc({ verdict });
  };
  const observed = (step: string, run: Step) => async (input: never) => {
    running.inc({ step });
    const end = seconds.startTimer({ step });
    try {
      const answer = await run(input);
      end();
      ended.inc({ step, result: 'ok' });
      notice(step, input, answer);
      return answer;
    } catch (error) {
      ended.inc({ step, result: error instanceof CancelledFailure ? 'cancelled' : 'failed' });
      throw error;
    } finally {
      running.dec({ step });
    }
  };
  const steps = Object.entries(activities).map(([step, run]) => [step, observed(step, run as Step)]);
  return Object.fromEntries(steps) as Activities;
}
