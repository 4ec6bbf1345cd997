import { printInvariants, type Outcome } from '../report.ts';
import type { Stand } from '../stand.ts';
import { always } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { Theatre } from './theatre.ts';

/** Plays a scenario and prints which of its promises held. */
export async function playScenario(stand: Stand, scenario: Scenario, signal: AbortSignal): Promise<Outcome> {
  console.log(`Scenario ${scenario.name}: ${scenario.summary}\n`);
  const theatre = new Theatre(stand, signal);
  const own = await theatre.shown(() => scenario.play(theatre));
  console.log('');
  const invariants = [...own, ...always(theatre, scenario.heldBack)];
  const held = printInvariants(invariants);
  return {
    exitCode: held ? 0 : 1,
    phase: scenario.name,
    makespanMs: Date.now() - theatre.startedAtMs,
    invariants,
  };
}
