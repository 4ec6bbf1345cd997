import type { NodeOpUpgradeSpec } from '../../api/types.ts';
import { NEW } from '../e2e/stage.ts';
import { EVENTS, type Cell, type Event } from './events.ts';
import { outcomeOf, stillGoing, writtenTwice, type Outcome } from './outcome.ts';
import { REACHED_WITHIN_MS, STEPS_OF_UPGRADE, type Kept, type StepOfUpgrade, type Theatre } from './steps.ts';

/** How the nodes of one column ended, by the step at which it befell them. */
export type Column = Record<string, { outcome: Outcome; writtenTwice: string[] }>;

/** A watcher looks for what was left behind once a minute; who was away judges after a minute of contact only. */
const OVER_WITHIN_MS = 240_000;

/**
 * One upgrade for each step, all at once, each of a node that has just joined and is kept at its step; then the same
 * thing befalls all of them. Resolves with how the nodes look in the end; they are gone then.
 */
export async function runColumn(theatre: Theatre, event: Event): Promise<Column> {
  const { stage } = theatre;
  const names = STEPS_OF_UPGRADE.map(({ step }) => `${step}-${event}`.toLowerCase().replaceAll(' ', '-'));
  await Promise.all(names.map((name) => stage.cluster.addNode({ name })));
  const reported = () => names.filter((name) => stage.kairosNodes.get(name)?.status.bootID === undefined);
  await stage.until('the agents of new nodes report', reported, (missing) => missing.length === 0);
  try {
    const cells = await Promise.all(
      STEPS_OF_UPGRADE.map((step, index) => begin(theatre, step, names[index] ?? '', event)),
    );
    // One that has not begun has nothing that still goes on.
    const unbegun = () => names.filter((name) => stage.status(name)?.rollout === undefined);
    await stage.until(`every rollout has begun (${event})`, unbegun, (left) => left.length === 0, REACHED_WITHIN_MS);
    if (event !== 'its own failure') {
      const reached = () => Promise.all(cells.map(({ kept }) => kept.reached)).then(() => true);
      await within(`every node is at its step (${event})`, reached(), REACHED_WITHIN_MS);
      const writes = cells.flatMap(({ kept }) => (kept.carryOut === undefined ? [] : [kept.carryOut()]));
      await within(`every step is carried out (${event})`, Promise.all(writes), REACHED_WITHIN_MS);
      await EVENTS[event](theatre, cells);
    }
    const going = () => Promise.all(cells.map(async (cell) => sentence(cell, await stillGoing(stage, cell))));
    const isOver = (left: (string | undefined)[]) => left.every((words) => words === undefined);
    await stage.until(`everything is over (${event})`, going, isOver, OVER_WITHIN_MS);
    return Object.fromEntries(cells.map((cell) => [cell.step.step, look(theatre, cell)]));
  } finally {
    await clear(theatre, names);
  }
}

const sentence = ({ node }: Cell, words: string | undefined) => (words === undefined ? undefined : `${node}: ${words}`);

async function begin(theatre: Theatre, step: StepOfUpgrade, node: string, event: Event): Promise<Cell> {
  const { stage } = theatre;
  const { uid } = stage.node(node);
  const kept = event === 'its own failure' ? await fail(theatre, step, node) : await step.keep(theatre, node);
  await stage.upgrade(node, NEW, [node], specOf(step, event));
  return { node, uid, step, kept };
}

async function fail(theatre: Theatre, { failure }: StepOfUpgrade, node: string): Promise<Kept> {
  await failure.arrange(theatre, node);
  return { reached: Promise.resolve(), release: () => undefined };
}

/** They are all out at once: the budget is not what is looked at here. */
function specOf({ spec, failure }: StepOfUpgrade, event: Event): Partial<NodeOpUpgradeSpec> {
  const own = event === 'its own failure' ? failure.spec : spec;
  return { ...own, strategy: { maxUnavailable: 100, ...own?.strategy } };
}

function look({ stage }: Theatre, cell: Cell): Column[string] {
  const isThere = stage.cluster.nodes().includes(cell.node);
  return {
    outcome: outcomeOf(stage, cell),
    writtenTwice: isThere ? writtenTwice(stage.recording(cell.node)) : [],
  };
}

async function clear({ stage }: Theatre, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (stage.status(name) !== undefined) await stage.deleteUpgrade(name).catch(() => undefined);
    if (stage.cluster.nodes().includes(name)) await stage.cluster.removeNode(name);
  }
}

async function within<T>(what: string, work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
