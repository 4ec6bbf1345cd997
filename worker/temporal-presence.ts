import { Connection, type ConnectionOptions } from '@temporalio/client';

/** Whether requests go through: of the connectivity states of a gRPC channel, `READY`. */
const isReady = (state: number) => state === 2;
/** A channel without requests goes idle after half an hour, which must not look like a break. */
const LOOK_MS = 60_000;

/** Tells when the connection to Temporal broke. */
export interface TemporalPresence {
  /** Resolves at the next break, or when closed. */
  broken(): Promise<void>;
  close(): Promise<void>;
}

/** The SDK's connection, with the state of its channel. */
class WatchedConnection extends Connection {
  static open(options: ConnectionOptions): WatchedConnection {
    return new this(this.createCtorOptions(options));
  }

  /** The present state; asks an idle channel to connect. */
  state() {
    return this.client.getChannel().getConnectivityState(true);
  }

  /** Resolves when the channel has left the state, or after {@link LOOK_MS}. */
  leaves(state: ReturnType<WatchedConnection['state']>): Promise<void> {
    return new Promise((resolve) => {
      this.client.getChannel().watchConnectivityState(state, Date.now() + LOOK_MS, () => resolve());
    });
  }
}

/**
 * Watches Temporal through a connection of its own. A connection that breaks may mean that the server came back with an
 * older copy of its database, or an empty one: what a worker remembers of its workflows may then be ahead of their
 * histories, and such workflows would stand still for ever.
 */
export function watchTemporal(options: ConnectionOptions): TemporalPresence {
  const connection = WatchedConnection.open(options);
  const closed = new AbortController();
  const { signal } = closed;
  const listeners = new Set<() => void>();

  const watch = async () => {
    let wasReady = false;
    while (!signal.aborted) {
      const state = connection.state();
      if (wasReady && !isReady(state)) for (const tell of listeners) tell();
      wasReady = isReady(state);
      if (wasReady) await connection.workflowService.getSystemInfo({}).catch(() => undefined);
      if (!signal.aborted && connection.state() === state) await connection.leaves(state);
    }
  };
  void watch();
  return {
    broken: () =>
      new Promise<void>((resolve) => {
        const tell = () => {
          listeners.delete(tell);
          resolve();
        };
        listeners.add(tell);
        signal.addEventListener('abort', tell, { once: true });
      }),
    async close() {
      closed.abort();
      await connection.close();
    },
  };
}
