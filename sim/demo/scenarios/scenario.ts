import type { Invariant } from '../../invariants.ts';
import type { SimulatedImage } from '../../images.ts';
import type { Theatre } from './theatre.ts';

/** A story on a cluster of its own, told with the commands that an operator types, and what must hold in it. */
export interface Scenario {
  /** As it is written after SCENARIO=. */
  readonly name: string;
  /** One sentence for the list. */
  readonly summary: string;
  readonly controlPlane: number;
  readonly workers: number;
  /** What the registry holds; the machines run the first one. */
  readonly images: readonly [SimulatedImage, ...SimulatedImage[]];
  /** Nodes that it leaves out of service on purpose. */
  readonly heldBack?: readonly string[];
  /** Plays it to its end. What is checked of every scenario is not among the answers. */
  play(theatre: Theatre): Promise<Invariant[]>;
}
