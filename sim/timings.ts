/** How long things take in a simulated cluster. */
export interface Timings {
  /** Pulling an image that is not on the node yet. */
  readonly pullMs: number;
  /** `kairos-agent upgrade`, writing the image. */
  readonly upgradeMs: number;
  /** A kernel, from power-on to userspace. A fallback costs two or three of them. */
  readonly bootMs: number;
  /** From a pod that is bound to its running containers. */
  readonly podStartMs: number;
  /** From the deletion of a pod to its end. */
  readonly podStopMs: number;
}

export const DEFAULT_TIMINGS: Timings = { pullMs: 300, upgradeMs: 2000, bootMs: 3000, podStartMs: 200, podStopMs: 200 };
