import type { RawObject } from './raw-object.ts';

/** What the parts of a reflector have in common. */

/** Where a projected object came from. */
export interface Origin<T> {
  /** Delivered by a list; false: by a watch event, in the order of the changes. */
  listed: boolean;
  /** What was known under this key before. */
  before: T | undefined;
}

/** A complete list, and the version that it is of. */
export interface Listed {
  objects: readonly RawObject[];
  version: string;
}

/** The log that a reflector needs; pino's fits. */
export interface ReflectorLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

/** How patient a reflector is. */
export interface ReflectorTimings {
  retryInitialMs: number;
  retryMaximumMs: number;
  /** After this time without any event or bookmark the watch is opened anew, from where it was. */
  silenceMs: number;
  /** How long one watch may last; jittered by a fifth. */
  watchSeconds: number;
}
