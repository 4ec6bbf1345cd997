import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Leftover, NodeInHand, NodeRef, NodeUpgradeInput, RolloutContext } from '../../../api/messages.ts';
import type { JoinedNodes, Plan } from '../../../api/plan-messages.ts';
import type { Verdict } from '../../../api/types.ts';
import { targetOf, type Answers, type Call } from '../stubs.ts';

/** What the model knows of a node, as the cluster's API would: it outlives every workflow. */
interface ModelNode {
  boot: number;
  /** Whose hand is on it. */
  hand?: NodeInHand;
  /** The run that finishes what another one left; an attempt that is left may end the node under its hands. */
  recoveredBy?: string | undefined;
  /** In which boot its image was written. */
  writtenIn?: number;
  writes: number;
  cordoned: boolean;
  /** How its attempts ended, in order. */
  ends: string[];
  /** Its steps that run at this moment. */
  running: { activity: Step; runId: string | undefined }[];
}

type Step = Call['activity'];
/** One other answer than the smooth one, or an error. */
type Fault = () => unknown;

const passing: Fault = () => {
  throw ApplicationFailure.retryable('connection refused', 'Unreachable');
};
const final: Fault = () => {
  throw ApplicationFailure.nonRetryable('not allowed', 'Forbidden');
};
const answer =
  (value: unknown): Fault =>
  () =>
    value;

/** What may go wrong at each step. A fault is taken by its number, so that a test can draw numbers. */
const FAULTS: { [S in Step]?: Fault[] } = {
  confirmRequest: [passing],
  planRollout: [passing],
  reportRollout: [passing],
  prePullImage: [passing, final, answer({ ...targetOf('registry.example/kairos:v2'), digest: 'sha256:2' })],
  waitForPlace: [
    passing,
    answer({ open: false, reason: 'waited in vain' }),
    answer({ open: false, reason: 'left to ns/newer', supersededBy: 'ns/newer' }),
  ],
  waitForControlPlane: [passing, answer({ open: false, reason: 'cp-9 is out' })],
  waitForHealth: [passing, answer({ open: false, reason: 'the health gate errors is closed' })],
  soakWave: [passing, answer({ open: false, reason: 'w-1 is not Ready' })],
  findJoined: [passing],
  readHosting: [passing],
  readLateVerdicts: [passing],
  checkGates: [
    answer({ answer: 'Wait', reason: 'not Ready' }),
    passing,
    final,
    answer({ answer: 'Done', verdict: 'Failed', message: 'does not fit' }),
    answer({ answer: 'Done', verdict: 'AlreadyOnTarget', message: 'runs v2' }),
    answer({ answer: 'Done', verdict: 'Superseded', message: 'left', recorded: true, supersededBy: 'ns/newer' }),
  ],
  markNode: [answer({ outcome: 'Full', reason: 'budget taken' }), passing, final],
  cordonNode: [passing, final],
  drainNode: [answer({ outcome: 'Failed', message: 'held' }), answer({ outcome: 'BootChanged' }), passing, final],
  writeImage: [
    answer({ outcome: 'Failed', message: 'no space left' }),
    answer({ outcome: 'NotWritten', message: 'evicted' }),
    answer({ outcome: 'BootChanged' }),
    passing,
    final,
  ],
  rebootNode: [answer({ outcome: 'NeverRebooted' }), passing, final],
  verifyNode: [
    answer({ verdict: 'RolledBack', message: 'fell back' }),
    answer({ verdict: 'Lost', message: 'no report' }),
    passing,
    final,
  ],
  soakNode: [answer({ outcome: 'Unsteady', message: 'NotReady' }), passing, final],
  endNode: [passing],
  settleNode: [passing],
};

/** What else a cluster has. */
interface More {
  /** Nodes that have joined since the plan. */
  joined?: JoinedNodes;
  /** Names of nodes that carry the operator. */
  hosts?: readonly string[];
}

/**
 * A cluster for property tests: answers every step as the real one would that has done what it was told, with faults
 * and delays drawn by the test, and notes what must never happen in `problems`.
 */
export class ClusterModel {
  readonly problems: string[] = [];
  readonly answers: Answers;
  /** The most nodes that were in hand at once. */
  peak = 0;
  readonly #nodes = new Map<string, ModelNode>();
  readonly #faults: number[];
  readonly #delaysMs: number[];
  readonly #joined: JoinedNodes;
  readonly #hosts: ReadonlySet<string>;
  #delayed = 0;

  /** Faults and delays are used up in the order of the calls: when there is no fault left everything goes well. */
  constructor(plan: Plan, faults: readonly number[], delaysMs: readonly number[], more: More = {}) {
    this.#joined = more.joined ?? { controlPlane: [], workers: [] };
    this.#hosts = new Set(more.hosts);
    this.#faults = [...faults];
    this.#delaysMs = [...delaysMs];
    const well = Object.entries({ planRollout: () => plan, ...this.#goesWell() });
    const answers = well.map(([step, smooth]) => [step, (input: never) => this.#answer(step as Step, smooth, input)]);
    this.answers = Object.fromEntries(answers) as Answers;
  }

  /** How long the next thing takes. */
  delayMs = (): number => this.#delaysMs[this.#delayed++ % this.#delaysMs.length] ?? 0;

  before = async (call: Call): Promise<void> => {
    const { activity, node: name } = call;
    if (name === undefined || OUTSIDE.has(activity)) return this.#take();
    const node = this.node(name);
    const { hand = call.input as NodeInHand } = call.input as { hand?: NodeInHand };
    // A workflow that was terminated leaves attempts behind which hear of it late, or not at all.
    const { runId } = Context.current().info.workflowExecution ?? {};
    if (activity === 'markNode') node.hand ??= hand;
    else if (node.hand === undefined && DISRUPTS.has(activity) && node.recoveredBy !== runId)
      this.problems.push(`${activity} of ${name}, which is in nobody's hand`);
    const beside = node.running.filter((other) => other.runId === runId).map((other) => other.activity);
    if (beside.length > 0) this.problems.push(`${activity} of ${name} while ${beside.join(', ')} runs`);
    if (activity === 'writeImage' && (call.input as { step: string }).step === 'upgrade') this.#writes(name, node);
    const running = { activity, runId };
    node.running.push(running);
    try {
      await this.#take();
    } finally {
      node.running.splice(node.running.indexOf(running), 1);
    }
  };

  node(name: string): ModelNode {
    const known = this.#nodes.get(name) ?? { boot: 1, writes: 0, cordoned: false, ends: [], running: [] };
    this.#nodes.set(name, known);
    return known;
  }

  /** The nodes that are marked or cordoned. */
  out(): string[] {
    return [...this.#nodes].filter(([, node]) => node.hand !== undefined || node.cordoned).map(([name]) => name);
  }

  async #take(): Promise<void> {
    const ms = this.delayMs();
    if (ms > 0) await Context.current().sleep(ms);
  }

  #answer(step: Step, smooth: (input: never) => unknown, input: NodeInHand & { hand?: NodeInHand }): unknown {
    const drawn = this.#faults.shift() ?? 0;
    const faults = FAULTS[step] ?? [];
    const fault = drawn === 0 ? undefined : faults[(drawn - 1) % faults.length];
    const given = fault === undefined ? smooth(input as never) : fault();
    const { outcome } = (given ?? {}) as { outcome?: string };
    const { node } = input.hand ?? input;
    if (outcome === 'BootChanged') this.node(node.name).boot += 1;
    if (outcome === 'Full') delete this.node(node.name).hand;
    return given;
  }

  #goesWell() {
    return {
      confirmRequest: () => ({ current: true, reason: '' }),
      reportRollout: () => undefined,
      prePullImage: ({ spec }: RolloutContext) => targetOf(spec.image),
      waitForPlace: () => ({ open: true }),
      waitForControlPlane: () => ({ open: true }),
      waitForHealth: () => ({ open: true }),
      soakWave: ({ waveSoakMs }: { waveSoakMs: number }) => this.#soaked(waveSoakMs),
      findJoined: () => this.#joined,
      readHosting: ({ node }: NodeInHand) => ({ pods: this.#hosts.has(node.name) ? ['kairos-system/worker-0'] : [] }),
      readLateVerdicts: () => [],
      checkGates: (input: NodeUpgradeInput) => this.#gates(input),
      markNode: ({ node }: NodeInHand) => this.#marked(node),
      cordonNode: ({ node }: NodeInHand) => {
        // An attempt that a terminated workflow has left cordons nothing that was given back meanwhile.
        if (this.node(node.name).hand === undefined) throw ApplicationFailure.nonRetryable('freed', 'MarkLost');
        this.node(node.name).cordoned = true;
        return { notReadyBefore: [] };
      },
      drainNode: () => ({ outcome: 'Drained' }),
      writeImage: () => ({ outcome: 'Written' }),
      rebootNode: () => ({ outcome: 'BootChanged' }),
      verifyNode: ({ node }: NodeInHand) => ({
        verdict: 'Succeeded',
        message: 'runs v2',
        bootID: this.#bootID(node.name),
      }),
      soakNode: () => ({ outcome: 'Steady' }),
      endNode: (end: { hand: NodeInHand; verdict: Verdict; message: string }) => this.#ended(end),
      settleNode: () => undefined,
      settleWave: ({ nodes }: { nodes: NodeRef[] }) => this.#settled(nodes),
    };
  }

  async #soaked(ms: number) {
    await Context.current().sleep(ms);
    return { open: true };
  }

  /** Waits until none of a wave's nodes is in a hand, and reads how they ended. */
  async #settled(nodes: NodeRef[]) {
    while (nodes.some(({ name }) => this.node(name).hand !== undefined)) await Context.current().sleep('1s');
    const verdicts: Record<string, number> = {};
    for (const { name } of nodes) {
      const verdict = this.node(name).ends.at(-1);
      if (verdict !== undefined) verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
    }
    const ended = Object.values(verdicts).reduce((sum, count) => sum + count, 0);
    return { verdicts, failed: [], untouched: nodes.length - ended };
  }

  #ended({ hand, verdict, message }: { hand: NodeInHand; verdict: Verdict; message: string }) {
    const node = this.node(hand.node.name);
    delete node.hand;
    node.cordoned = false;
    node.ends.push(verdict);
    return { node: hand.node.name, outcome: 'Ended', verdict, message };
  }

  #writes(name: string, node: ModelNode): void {
    if (Context.current().info.attempt > 1) return;
    node.writes += 1;
    if (node.writtenIn === node.boot) this.problems.push(`the image of ${name} is written twice in one boot`);
    node.writtenIn = node.boot;
  }

  #bootID = (name: string) => `boot-${this.node(name).boot}`;

  #gates(input: NodeUpgradeInput) {
    const node = this.node(input.node.name);
    if (node.hand !== undefined) {
      node.recoveredBy = Context.current().info.workflowExecution?.runId;
      const leftover: Leftover = { resume: resumeOf(node), hand: node.hand, sameAttempt: true };
      return { answer: 'Recover', leftover } as const;
    }
    if (input.recover === true) return { answer: 'Wait', reason: 'nothing is left to recover' } as const;
    return { answer: 'Go', bootID: this.#bootID(input.node.name), from: 'v1' } as const;
  }

  #marked({ name }: NodeRef) {
    this.peak = Math.max(this.peak, [...this.#nodes.values()].filter((node) => node.hand !== undefined).length);
    if (this.node(name).hand === undefined) this.problems.push(`${name} is marked, and nobody's`);
    const beside = this.out().filter((other) => other !== name);
    if (this.#hosts.has(name) && beside.length > 0)
      this.problems.push(`${name} carries the operator, and is taken out beside ${beside.join(', ')}`);
    return { outcome: 'Marked' } as const;
  }
}

/** Where an upgrade goes on whose workflow is gone. */
const resumeOf = (node: ModelNode): Leftover['resume'] => {
  if (node.writtenIn === undefined) return 'giveBack';
  return node.writtenIn === node.boot ? 'reboot' : 'verify';
};

/** Steps that disrupt a node: never without its mark. */
const DISRUPTS: ReadonlySet<Step> = new Set(['cordonNode', 'drainNode', 'writeImage', 'rebootNode'] as const);

/** Steps that touch no node, or ask only. */
const OUTSIDE: ReadonlySet<Step> = new Set(['prePullImage', 'waitForPlace', 'checkGates', 'settleNode'] as const);
