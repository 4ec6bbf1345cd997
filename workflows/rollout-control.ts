import { ApplicationFailure } from '@temporalio/common';
import { CancellationScope, setHandler } from '@temporalio/workflow';
import {
  pauseSignal,
  pauseUpdate,
  resumeSignal,
  resumeUpdate,
  stateQuery,
  whyCancelledSignal,
  type PauseMessage,
  type ResumeMessage,
} from './messages.ts';
import type { RolloutInput, WaveResult } from '../api/messages.ts';
import type { ControlState } from '../api/control-messages.ts';
import type { PlannedWave } from '../api/plan-messages.ts';
import { NOTHING_ASKED } from '../policy/asked.ts';
import type { WaveHandle } from './known-waves.ts';
import type { RolloutRecord } from './rollout-record.ts';
import { askedIn, yes } from './request-texts.ts';
import { RolloutRequests } from './rollout-requests.ts';

/** What people ask of a rollout while it runs: each request changes the record, and is told to the wave that runs. */
export class RolloutControl {
  /** The wave that runs, or undefined between two. */
  current: WaveHandle | undefined;
  /** Set whenever somebody pauses or resumes: a wait that saw it may have had less time than it should. */
  steered = false;
  readonly requests: RolloutRequests;
  private readonly record: RolloutRecord;

  constructor(record: RolloutRecord, { control }: Pick<RolloutInput, 'control'> = {}) {
    this.record = record;
    const { paused, ...asked } = { ...NOTHING_ASKED, ...control };
    if (paused !== undefined) record.state.paused = paused;
    this.requests = new RolloutRequests(record, asked);
    const pause = (message: PauseMessage = {}) => this.steer('pause', message);
    const resume = (message: ResumeMessage = {}) => this.steer('resume', message);
    const pausing = 'Start no further node. {"reason": "…"}';
    const resuming = 'Go on after a pause. {}';
    setHandler(stateQuery, () => record.shown(), { description: 'Where the rollout stands.' });
    setHandler(pauseSignal, async (message) => void (await pause(message)), { description: pausing });
    setHandler(resumeSignal, async (message) => void (await resume(message)), { description: resuming });
    const sent = { description: 'Sent by the watcher before it cancels; not for people.' };
    setHandler(whyCancelledSignal, (message) => void (this.record.endedBy ??= askedIn(message ?? {})), sent);
    setHandler(pauseUpdate, pause, {
      description: pausing,
      validator: (message?: PauseMessage) => this.mustTake(message?.by, false),
    });
    setHandler(resumeUpdate, resume, {
      description: resuming,
      validator: (message?: ResumeMessage) => this.mustTake(message?.by, true),
    });
  }

  /** All that was asked, for a run that continues this one. */
  handOver(): ControlState {
    const { paused } = this.record.state;
    return { ...this.requests.state, ...(paused === undefined ? {} : { paused }) };
  }

  /** A wave has started. */
  started(handle: WaveHandle): void {
    this.current = handle;
    this.requests.started(handle);
  }

  /** A wave is over, with this result where it had one. */
  over(planned: PlannedWave, result: WaveResult | undefined): void {
    this.current = undefined;
    this.requests.over(planned, result);
  }

  /** Tells a wave whether it is paused. */
  async tell(child: WaveHandle | undefined): Promise<void> {
    const { paused } = this.record.state;
    try {
      await CancellationScope.nonCancellable(async () => {
        if (paused === undefined) await child?.signal(resumeSignal, {});
        else await child?.signal(pauseSignal, { reason: paused.reason });
      });
    } catch {
      // The wave has just ended: the next one is told when it starts.
    }
  }

  private mustTake(by: PauseMessage['by'], resumes: boolean): void {
    const refused = this.record.refusal(by ?? 'temporal', resumes);
    if (refused !== undefined) throw ApplicationFailure.nonRetryable(refused, 'Refused');
  }

  /** Pauses or resumes, if that may be; a signal that may not be taken is said to be ignored by the update only. */
  private async steer(what: 'pause' | 'resume', message: PauseMessage): Promise<string> {
    const { record } = this;
    const asked = askedIn(message);
    const refused = record.refusal(asked.by, what === 'resume');
    if (refused !== undefined) return refused;
    const answer = what === 'pause' ? 'paused: nodes in hand are finished, no further one is started' : 'resumed';
    // The watcher says it again until the status does.
    if (record[what](asked)) this.requests.keep(what, '', asked, yes(answer));
    this.steered = true;
    await this.tell(this.current);
    await record.write();
    return answer;
  }
}
