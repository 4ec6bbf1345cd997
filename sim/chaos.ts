/**
 * What chaos kills. `api-server` is a k3s server: API server, controller manager and scheduler are one process there.
 * About every other time etcd is embedded in it, too.
 */
export const PARTS = ['worker', 'watcher', 'temporal', 'api-server', 'agent'] as const;
export type Part = (typeof PARTS)[number];

/** One SIGKILL. */
export interface Kill {
  readonly part: Part;
  /** After the upgrade was applied. A part that is not up again by then is killed as soon as it is. */
  readonly atMs: number;
  /** From the kill to the next start. */
  readonly downMs: number;
  /** With the part `api-server`: whether its etcd dies with it. */
  readonly etcd?: boolean;
  /** With the part `agent`: on which node; where none runs there, the next one in the order of the nodes is meant. */
  readonly node?: string;
}

export interface ChaosOptions {
  /** A whole number from 0 to 2³² - 1; the same one makes the same plan, for the same duration and nodes. */
  readonly seed: number;
  /** How long the rollout would take undisturbed. Kills only make it longer. */
  readonly durationMs: number;
  readonly nodes: readonly string[];
}

/** However short the rollout. */
export const LEAST_KILLS = 2;
/** One kill of the part in this time. An API server needs half of that only to be back. */
const EVERY_MS: Readonly<Record<Part, number>> = {
  worker: 15_000,
  watcher: 15_000,
  temporal: 15_000,
  'api-server': 30_000,
  agent: 15_000,
};
/** Of the undisturbed rollout: within it lie the least kills, and these make the rollout longer. */
const SURE = 0.75;
/** Until then the kills go on. A rollout that comes through quickly ends before the last ones. */
const LAST = 1.5;
const LONGEST_DOWN_MS: Readonly<Record<Part, number>> = {
  worker: 4000,
  watcher: 4000,
  temporal: 3000,
  // Its start takes seconds by itself.
  'api-server': 2000,
  // The back-off of a container runtime.
  agent: 2000,
};

/**
 * When to kill what, in the order of time: each part once in every slice of the rollout, at a random moment of it. The
 * first {@link LEAST_KILLS} slices are short enough to end before the undisturbed rollout would.
 */
export function planChaos({ seed, durationMs, nodes }: ChaosOptions): Kill[] {
  const killIn = (part: Part, random: () => number, fromMs: number, withinMs: number): Kill => {
    const upTo = (most: number): number => Math.round(random() * most);
    const kill = { part, atMs: Math.round(fromMs) + upTo(withinMs), downMs: upTo(LONGEST_DOWN_MS[part]) };
    if (part === 'api-server') return { ...kill, etcd: random() < 0.5 };
    const node = nodes[Math.floor(random() * nodes.length)];
    return part === 'agent' && node !== undefined ? { ...kill, node } : kill;
  };
  const kills = PARTS.flatMap((part, index) => {
    // Numbers of its own: what is planned for one part changes nothing for the others.
    const random = randomNumbers(seed + index * 0x9e_37_79_b9);
    const every = EVERY_MS[part];
    const slice = Math.min(every, (durationMs * SURE) / LEAST_KILLS);
    const sureMs = LEAST_KILLS * slice;
    const more = Math.max(0, Math.floor((durationMs * LAST - sureMs) / every));
    return [
      ...Array.from({ length: LEAST_KILLS }, (_, nth) => killIn(part, random, nth * slice, slice)),
      ...Array.from({ length: more }, (_, nth) => killIn(part, random, sureMs + nth * every, every)),
    ];
  });
  return kills.sort((a, b) => a.atMs - b.atMs);
}

/** Numbers from 0 up to 1, the same ones for the same seed (mulberry32: Math.random cannot be seeded). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d_2b_79_f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
