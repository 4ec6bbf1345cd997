import { CancellationScope, setCurrentDetails, setHandler, workflowInfo } from '@temporalio/workflow';
import type { LateVerdict } from '../activities/late-verdicts.ts';
import type {
  FailedNode,
  RolloutContext,
  RolloutInput,
  RolloutResult,
  SupersededNode,
  Target,
  WaveResult,
} from '../api/messages.ts';
import type { Asked, ControlState } from '../api/control-messages.ts';
import type { PlanReport } from '../api/plan-messages.ts';
import type { RolloutPhase, RolloutStatus } from '../api/types.ts';
import { askedText } from '../policy/asked.ts';
import { countsAsFailed } from '../policy/failure-budget.ts';
import { shownWaves } from '../policy/plan-report.ts';
import { planMarkdown } from '../policy/plan-text.ts';
import { activitiesFor } from './activity-proxies.ts';
import { planQuery, type RolloutState, type ShownRequests } from './messages.ts';
import { showPhase } from './search-attributes.ts';

/** Characters of a reason that the resource holds. */
const LONGEST_REASON = 900;
/** Characters of what is said of a node that failed: with more the API server refuses the whole status. */
const LONGEST_MESSAGE = 900;
/** Nodes that the resource names. */
const LISTED = 100;

const NOT_FAILED: ReadonlySet<string> = new Set(['Succeeded', 'AlreadyOnTarget', 'Superseded']);

const FINAL: ReadonlySet<string> = new Set(['Completed', 'Failed', 'Cancelled', 'Planned']);

type Shown = Pick<ControlState, 'approvals' | 'skipped' | 'skips' | 'requests'>;

/** Where a rollout stands, and the one place from which that is written into its resource. */
export class RolloutRecord {
  readonly context: RolloutContext;
  readonly state: RolloutState = { phase: 'Planning', verdicts: {} };
  readonly failed: WaveResult['failed'] = [];
  /** Nodes of the plan that were deleted or replaced before anything was done to them: they do not count. */
  readonly gone: string[] = [];
  /** Nodes that were left to another NodeOpUpgrade. */
  readonly superseded: SupersededNode[] = [];
  targets: Record<string, Target> = {};
  total = 0;
  /** How many nodes count against the failure budget. */
  counted = 0;
  /** What was planned; undefined before that. */
  plan: PlanReport | undefined;
  /** Until when the wave soaks at the earliest (RFC 3339); undefined while none does. */
  soakUntil: string | undefined;
  /** What people asked for. */
  asked: Shown = { approvals: [], skipped: [], skips: {}, requests: [] };
  /** Who ends it, where somebody does. */
  endedBy: Asked | undefined;
  private readonly input: RolloutInput;
  private message = '';
  /** What had ended when the wave began. */
  private verdictsBefore: Record<string, number> | undefined;
  private written: Promise<void> = Promise.resolve();

  constructor(input: RolloutInput) {
    this.input = input;
    this.context = {
      cluster: input.cluster,
      rolloutID: workflowInfo().workflowId,
      request: input.request,
      spec: input.spec,
    };
    const described = { description: 'The plan: order, waves, versions, risks, duration. null before it was made.' };
    setHandler(planQuery, () => this.plan ?? null, described);
    const { paused: reason, pausedBy: who } = input;
    if (reason !== undefined)
      this.pause({ by: 'kubectl', reason, at: new Date().toISOString(), ...(who === undefined ? {} : { who }) });
  }

  /** A wave begins: what ended before it is not its own. */
  begins(wave: string): void {
    this.state.wave = wave;
    this.verdictsBefore = { ...this.state.verdicts };
  }

  add(result: WaveResult): void {
    for (const [verdict, count] of Object.entries(result.verdicts)) this.countUp(verdict, count);
    this.failed.push(...result.failed);
    this.counted += result.counted ?? 0;
    this.superseded.push(...(result.superseded ?? []));
    // Failed until they are tried again, or left out.
    const again = result.again ?? [];
    this.putBack(again.filter(({ skipped }) => skipped !== true));
    for (const { skipped, verdict } of again) if (skipped === true) this.countUp(verdict);
    this.gone.push(...(result.gone ?? []));
    this.total -= (result.gone?.length ?? 0) + (result.verdicts['Superseded'] ?? 0);
    this.targets = result.targets;
  }

  /** Nodes that are tried again: how they ended before counts no more. Answers what that was. */
  takeBack(names: ReadonlySet<string>): FailedNode[] {
    const taken = this.failed.filter(({ name }) => names.has(name));
    for (const { verdict } of taken) this.countDown(verdict);
    this.counted -= taken.filter(countsAsFailed).length;
    this.failed.splice(0, this.failed.length, ...this.failed.filter(({ name }) => !names.has(name)));
    return taken;
  }

  /** Nodes that were not tried again after all: they are what they were. */
  putBack(nodes: readonly FailedNode[]): void {
    for (const { verdict } of nodes) this.countUp(verdict);
    this.counted += nodes.filter(countsAsFailed).length;
    this.failed.push(...nodes);
  }

  /** How many nodes ended without reaching the target, but for those that people left out. Of results of earlier versions not all are known by name. */
  get failures(): number {
    const ended = Object.entries(this.state.verdicts).filter(([verdict]) => !NOT_FAILED.has(verdict));
    return Math.max(0, ended.reduce((sum, [, count]) => sum + count, 0) - this.asked.skipped.length);
  }

  countUp(verdict: string, count = 1): void {
    this.state.verdicts[verdict] = (this.state.verdicts[verdict] ?? 0) + count;
  }

  countDown(verdict: string): void {
    const left = (this.state.verdicts[verdict] ?? 1) - 1;
    if (left === 0) delete this.state.verdicts[verdict];
    else this.state.verdicts[verdict] = left;
  }

  /** What the query answers. */
  shown(): RolloutState & ShownRequests {
    return { ...this.state, ...filled(this.asked) };
  }

  /** What a person should know and type while a wave waits for approval. */
  approvalText(wave: string): string {
    const { namespace, name, attempt } = this.context.request;
    // The same text again would change nothing: an earlier attempt may have been approved with it.
    const value = attempt === 1 ? wave : `${wave}: attempt ${attempt}`;
    return `wave ${wave} waits until a person approves it: kubectl annotate -n ${namespace} nodeopupgrade ${name} --overwrite kairos.io/approve="${value}"`;
  }

  /**
   * Nodes that ended badly, and turned out to be something else while the rollout went on. Answers what is to be said
   * about it, for the end of a message.
   */
  correct(late: LateVerdict[]): string {
    const said = late.flatMap(({ failure, ...now }) => {
      const index = this.failed.findIndex(({ name }) => name === now.name);
      const was = this.failed[index]?.verdict;
      if (was === undefined) return [];
      this.failed.splice(index, 1, ...(failure ? [now] : []));
      this.countDown(was);
      this.state.verdicts[now.verdict] = (this.state.verdicts[now.verdict] ?? 0) + 1;
      return [`${now.name} was ${was}, is ${now.verdict}`];
    });
    return said.length === 0 ? '' : `; evidence came late: ${said.slice(0, 5).join('; ')}`;
  }

  end(phase: RolloutPhase, message: string): RolloutResult {
    return { phase, message, verdicts: this.state.verdicts };
  }

  version(): string | undefined {
    return Object.values(this.targets)[0]?.version;
  }

  /** Why a pause or a resume cannot be taken, or undefined. What was written with kubectl is lifted with kubectl. */
  refusal(by: 'kubectl' | 'temporal', resumes: boolean): string | undefined {
    const { phase, paused } = this.state;
    if (FINAL.has(phase) || phase === 'Cancelling')
      return `rollout ${this.context.rolloutID} is ${phase}: there is nothing to pause or resume`;
    if (by === 'kubectl' || paused?.by !== 'kubectl') return undefined;
    const { namespace, name } = this.context.request;
    return resumes
      ? `rollout ${this.context.rolloutID} is paused by an annotation: kubectl annotate -n ${namespace} nodeopupgrade ${name} kairos.io/pause-`
      : `rollout ${this.context.rolloutID} is paused already, by an annotation: ${paused.reason}`;
  }

  /** False where it is paused by the same way and for the same reason already. */
  pause({ by, who, reason = 'no reason given', at }: Asked): boolean {
    const { paused } = this.state;
    const said = reason.slice(0, LONGEST_REASON);
    if (paused?.by === by && paused.reason === said) return false;
    this.state.paused = { by, ...(who === undefined ? {} : { who }), reason: said, since: at };
    return true;
  }

  /** False where it is not paused. */
  resume(_asked: Asked): boolean {
    const wasPaused = this.state.paused !== undefined;
    delete this.state.paused;
    return wasPaused;
  }

  /** Writes where the rollout stands, now that it is this; repeated until the API server takes it. */
  async report(phase: RolloutPhase, message: string): Promise<void> {
    this.state.phase = phase;
    this.message = message;
    await this.write();
  }

  /**
   * Writes what is true when its turn comes: writes never overtake each other, and a cancel does not stop them.
   * A pause is shown instead of the phase, as long as nodes could be started.
   */
  write(): Promise<void> {
    this.written = this.written.then(() => CancellationScope.nonCancellable(() => this.writeNow()));
    return this.written;
  }

  /** What tells how far the waves are: the plan in the resource may be a newer one. */
  private ofWaves(): Pick<RolloutStatus, 'waves' | 'verdictsBefore' | 'soakUntil'> {
    const { plan, verdictsBefore, soakUntil } = this;
    return {
      ...(plan === undefined ? {} : { waves: shownWaves(plan) }),
      ...(verdictsBefore === undefined ? {} : { verdictsBefore }),
      ...(soakUntil === undefined ? {} : { soakUntil }),
    };
  }

  private async writeNow(): Promise<void> {
    const { state, message, context } = this;
    const { paused } = state;
    const shown = paused !== undefined && state.phase === 'Running' ? 'Paused' : (state.phase as RolloutPhase);
    const said =
      paused === undefined || shown !== 'Paused'
        ? message
        : `paused by ${askedText(paused)}; nodes in hand are finished, no further one is started`;
    const plan = this.plan === undefined ? '' : `\n\n${planMarkdown(this.plan)}`;
    setCurrentDetails(`**${shown}** ${said}${plan}`);
    const { generation, attempt, retry } = context.request;
    // A dry run pulls while it plans.
    const version = this.version() ?? (shown === 'Planned' ? this.plan?.version : undefined);
    const status: RolloutStatus = {
      workflowID: context.rolloutID,
      generation,
      attempt,
      phase: shown,
      message: said,
      image: context.spec.image,
      total: this.total,
      verdicts: state.verdicts,
      failed: this.failed.slice(0, LISTED).map(({ name, verdict, message: why }) => ({
        name,
        verdict,
        message: why.slice(0, LONGEST_MESSAGE),
      })),
      ...(this.superseded.length === 0 ? {} : { superseded: this.superseded.slice(0, LISTED) }),
      ...(retry === undefined ? {} : { retry }),
      ...(paused === undefined ? {} : { paused }),
      ...(state.wave === undefined ? {} : { wave: state.wave }),
      ...(version === undefined ? {} : { version }),
      ...(state.approval === undefined ? {} : { approval: state.approval }),
      ...(this.endedBy !== undefined && (shown === 'Cancelling' || shown === 'Cancelled')
        ? { endedBy: this.endedBy }
        : {}),
      ...this.ofWaves(),
      ...filled(this.asked),
    };
    const final = FINAL.has(shown);
    if (final) showPhase(this.input.timing, shown);
    await activitiesFor(this.input.timing).call.reportRollout({ context, status, final });
  }
}

/** What was asked, where anything was. */
function filled({ approvals, skipped, skips, requests }: Shown): ShownRequests {
  const leavingOut = Object.entries(skips).map(([name, asked]) => ({ name, ...asked }));
  return {
    ...(approvals.length === 0 ? {} : { approvals }),
    ...(skipped.length === 0 ? {} : { skipped }),
    ...(leavingOut.length === 0 ? {} : { leavingOut }),
    ...(requests.length === 0 ? {} : { requests }),
  };
}
