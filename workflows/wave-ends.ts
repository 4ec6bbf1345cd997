import type { FailedNode, NodeResult, SupersededNode, WaveResult } from '../api/messages.ts';
import type { Verdict } from '../api/types.ts';
import { countsAsFailed } from '../policy/failure-budget.ts';

/** Of so many nodes a result says more than their name and verdict. */
const LISTED = 100;
/** Characters of a message that are kept. */
const LONGEST_MESSAGE = 900;

/** How a node ended. `again`: it may be tried again when a person asks for that. `counts`: in the failure budget. */
export interface End extends Omit<FailedNode, 'name'> {
  again: boolean;
  counts: boolean;
}

/** How the nodes of a wave ended, or of a part of it: each is in exactly one count. */
export class WaveEnds {
  private readonly verdicts: Record<string, number>;
  private readonly gone: string[];
  private readonly superseded: SupersededNode[];
  private readonly again: FailedNode[];
  private readonly ends = new Map<string, End>();
  private failures: number;

  /** `result`: of a part that is over. Nodes that did not fail are in its counts only. */
  constructor(result: Partial<WaveResult> = {}) {
    const { verdicts = {}, failed = [], skipped = [], counted = 0, gone = [], superseded = [], again = [] } = result;
    this.verdicts = { ...verdicts };
    this.gone = [...gone];
    this.superseded = [...superseded];
    this.again = [...again];
    this.failures = counted;
    for (const { name, ...failure } of failed)
      this.ends.set(name, { ...failure, again: true, counts: countsAsFailed(failure) });
    for (const name of skipped)
      this.ends.set(name, { verdict: 'Skipped', message: 'left out', skipped: true, again: true, counts: false });
  }

  /**
   * Counts how a node ended. `withdrawn`: it was given up with the rollout, which is no failure. One that was deleted
   * before anything was done to it is none either: it is no part of the wave any more.
   */
  add(result: NodeResult, withdrawn: boolean): End | undefined {
    const { node: name, message, supersededBy, skipped, tolerated } = result;
    const verdict: Verdict = result.verdict ?? 'Unverified';
    if (result.gone === true) {
      this.gone.push(name);
      return undefined;
    }
    const well = verdict === 'Succeeded' || verdict === 'AlreadyOnTarget';
    const again = !well && !withdrawn && supersededBy === undefined;
    const end: End = {
      verdict,
      message: message.slice(0, LONGEST_MESSAGE),
      again,
      counts: again && skipped !== true && countsAsFailed({ verdict, ...(tolerated && { tolerated }) }),
      ...(tolerated && { tolerated }),
      ...(skipped && { skipped }),
    };
    this.count(name, end);
    if (supersededBy !== undefined && this.superseded.length < LISTED) this.superseded.push({ name, by: supersededBy });
    return end;
  }

  of(node: string): End | undefined {
    return this.ends.get(node);
  }

  /** Whether a node has an end, is gone, or was handed back. */
  knows(node: string): boolean {
    return this.ends.has(node) || this.gone.includes(node) || this.isHandedBack(node);
  }

  /** Of how many nodes that is said. */
  get total(): number {
    return this.ended + this.gone.length + this.again.length;
  }

  /** How many of them count against the failure budget. */
  get counted(): number {
    return this.failures;
  }

  /** Nodes that failed, but for those that a person left out. */
  failedNodes(): string[] {
    return [...this.ends].filter(([, { again, skipped }]) => again && skipped !== true).map(([node]) => node);
  }

  /** A node that ended is to be tried again: it is in no count any more. */
  handBack(name: string): void {
    const end = this.ends.get(name);
    if (end === undefined) return;
    this.ends.delete(name);
    if (end.counts) this.failures -= 1;
    const left = (this.verdicts[end.verdict] ?? 1) - 1;
    if (left === 0) delete this.verdicts[end.verdict];
    else this.verdicts[end.verdict] = left;
    this.again.push(failureOf(name, end));
  }

  isHandedBack(node: string): boolean {
    return this.again.some(({ name }) => name === node);
  }

  /** A node that was handed back stays ended as it was after all; false where it was not handed back. */
  keepEnded(node: string): boolean {
    const index = this.again.findIndex(({ name }) => name === node);
    const [ended] = index < 0 ? [] : this.again.splice(index, 1);
    if (ended === undefined) return false;
    const { name: _name, ...failure } = ended;
    this.count(node, { ...failure, again: true, counts: failure.skipped !== true && countsAsFailed(failure) });
    return true;
  }

  /** For the Temporal UI. */
  text(): string {
    const done = Object.entries(this.verdicts).map(([verdict, count]) => `${verdict}: ${count}`);
    if (this.gone.length > 0) done.push(`gone: ${this.gone.length}`);
    return done.join(', ');
  }

  /** What of a wave's result these ends are, with those of the parts behind it. */
  result(behind?: WaveEnds): Omit<WaveResult, 'untouched' | 'targets'> {
    const both = <T>(list: (ends: WaveEnds) => readonly T[]) => [
      ...list(this),
      ...(behind === undefined ? [] : list(behind)),
    ];
    return {
      verdicts: sumOf(this.verdicts, behind?.verdicts),
      failed: brief(both((ends) => ends.listed((end) => end.again && end.skipped !== true))),
      counted: this.counted + (behind?.counted ?? 0),
      ...filled(
        'gone',
        both(({ gone }) => gone),
      ),
      ...filled('superseded', both(({ superseded }) => superseded).slice(0, LISTED)),
      ...filled(
        'skipped',
        both((ends) => ends.listed(({ skipped }) => skipped === true).map(({ name }) => name)),
      ),
      ...filled('again', brief(both(({ again }) => again))),
    };
  }

  private get ended(): number {
    return Object.values(this.verdicts).reduce((sum, count) => sum + count, 0);
  }

  private count(name: string, end: End): void {
    this.ends.set(name, end);
    this.verdicts[end.verdict] = (this.verdicts[end.verdict] ?? 0) + 1;
    if (end.counts) this.failures += 1;
  }

  private listed(wanted: (end: End) => boolean): FailedNode[] {
    return [...this.ends].filter(([, end]) => wanted(end)).map(([name, end]) => failureOf(name, end));
  }
}

const failureOf = (name: string, { verdict, message, tolerated, skipped }: End): FailedNode => ({
  name,
  verdict,
  message,
  ...(tolerated && { tolerated }),
  ...(skipped && { skipped }),
});

/** A result is one message to the rollout: of thousands of nodes only the first say why. */
const brief = (nodes: readonly FailedNode[]): FailedNode[] =>
  nodes.map((node, index) => (index < LISTED ? node : { ...node, message: '' }));

function sumOf(own: Readonly<Record<string, number>>, behind: Readonly<Record<string, number>> = {}) {
  const sum = { ...own };
  for (const [verdict, count] of Object.entries(behind)) sum[verdict] = (sum[verdict] ?? 0) + count;
  return sum;
}

/** A list of a result, which is absent where it is empty. */
const filled = <K extends string, T>(name: K, list: T[]): { [key in K]?: T[] } =>
  (list.length === 0 ? {} : { [name]: list }) as { [key in K]?: T[] };
