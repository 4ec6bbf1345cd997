import { Connection, type ConnectionOptions } from '@temporalio/client';

/** Whether requests go through: of the connectivity states of a gRPC channel, `READY`. */
const isReady = (state: number) => state === 2;
/** A channel without requests goes idle after half an hour, which must not look like a break. */
const LOOK_MS = 60_000;

/** Tells when the connection to Temporal broke. */
export interface TemporalPresence {
  /** Resolves at the next break, or when closed. */
  broken(): Promise<void>;
  /** Watches by another connection, which counts as a break: the worker is to take the new one, too. */
  reopen(options: ConnectionOptions): void;
  setApiKey(apiKey: string): void;
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
  let connection = WatchedConnection.open(options);
  const closed = new AbortController();
  const { signal } = closed;
  const listeners = new Set<() => void>();

  const tellAll = () => {
    for (const tell of listeners) tell();
  };

  const watch = async (own: WatchedConnection) => {
    let wasReady = false;
    const isOver = () => signal.aborted || own !== connection;
    while (!isOver()) {
      const state = own.state();
      if (wasReady && !isReady(state)) tellAll();
      wasReady = isReady(state);
      if (wasReady) await own.workflowService.getSystemInfo({}).catch(() => undefined);
      if (!isOver() && own.state() === state) await own.leaves(state);
    }
  };
  void watch(connection);
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
    reopen(fresh) {
      const former = connection;
      connection = WatchedConnection.open(fresh);
      void watch(connection);
      void former.close();
      tellAll();
    },
    setApiKey: (apiKey) => connection.setApiKey(apiKey),
    async close() {
      closed.abort();
      await connection.close();
    },
  };
}
