/** What a person may ask of the demo, by environment variables. */
export interface DemoOptions {
  readonly controlPlane: number;
  readonly workers: number;
  /** Leave everything up at the end, until Ctrl-C. */
  readonly keep: boolean;
}

const MOST = 1000;

/**
 * Reads NODES (all of them, default 12; three are control plane, one below four nodes) and KEEP=1.
 * @throws Error that says what to write
 */
export function readDemoOptions(env: Record<string, string | undefined>): DemoOptions {
  const text = env['NODES'] ?? '12';
  const nodes = Number(text);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MOST) {
    throw new Error(`NODES=${text}: write a whole number of nodes from 1 to ${MOST}, such as NODES=12`);
  }
  const controlPlane = nodes < 4 ? 1 : 3;
  return { controlPlane, workers: nodes - controlPlane, keep: env['KEEP'] === '1' };
}
