import type { ConnectionLike } from '@temporalio/client';
import { pause } from '../kube/pause.ts';
import { explainTemporal } from './temporal-trouble.ts';
import { changeOf, readTemporalSettings, type TemporalSettings } from './temporal-settings.ts';
import { keepChecking, waitFor, type Watchdogs } from './surroundings.ts';

export { readTemporalSettings, type TemporalSettings } from './temporal-settings.ts';

const CALL_MS = 5_000;
const CHECK_EVERY_MS = 10_000;
/**
 * How often files are read again. A mounted Secret is renewed by the swap of a link to its folder, which file events
 * of the files themselves do not show.
 */
const RELOAD_MS = 10_000;
const PART = 'Temporal';

/** What client and worker connections have in common. */
export interface RenewableConnection extends ConnectionLike {
  setApiKey(apiKey: string): void | Promise<void>;
  close(): Promise<void>;
}

/** A connection to Temporal that follows the credentials in its files. */
export interface TemporalLink<Connection> {
  /** The present one. */
  readonly connection: Connection;
  readonly settings: TemporalSettings;
  /**
   * Called when there is another connection, with the former, which is to be closed by the listener once nothing uses
   * it any more.
   */
  onReplaced(listener: (now: Connection, former: Connection) => void): void;
  /** Called when only the API key is another one; the connection has it already. */
  onApiKey(listener: (apiKey: string) => void): void;
}

/**
 * Waits for Temporal and for our namespace there, and goes on watching both: the log and `/readyz` tell when it goes and
 * comes. `connect` is repeated as long as it fails. Files with credentials that change are taken up, without a gap: the
 * former connection is given up only for one that works. Rejects only with the signal's reason.
 */
export async function connectToTemporal<Connection extends RenewableConnection>(
  settings: TemporalSettings,
  connect: (settings: TemporalSettings) => Promise<Connection>,
  watchdogs: Watchdogs,
): Promise<TemporalLink<Connection>> {
  const link = new Link(settings, connect, watchdogs);
  await waitFor(
    PART,
    () => link.reach(),
    (error) => link.explain(error),
    watchdogs,
  );
  void keepChecking(
    {
      part: PART,
      everyMs: CHECK_EVERY_MS,
      ask: () =>
        link.reach().then(
          () => undefined,
          async (error) =>
            `${await link.explain(error)}; until it does, nothing is started and nodes in hand stay as they are`,
        ),
    },
    watchdogs,
  );
  return link;
}

class Link<Connection extends RenewableConnection> implements TemporalLink<Connection> {
  readonly #connect: (settings: TemporalSettings) => Promise<Connection>;
  readonly #watchdogs: Watchdogs;
  readonly #replaced: ((now: Connection, former: Connection) => void)[] = [];
  readonly #keyed: ((apiKey: string) => void)[] = [];
  #settings: TemporalSettings;
  #open: Connection | undefined;
  #told: string | undefined;

  constructor(
    settings: TemporalSettings,
    connect: (settings: TemporalSettings) => Promise<Connection>,
    watchdogs: Watchdogs,
  ) {
    this.#settings = settings;
    this.#connect = connect;
    this.#watchdogs = watchdogs;
    void this.#keepReading();
  }

  get connection(): Connection {
    if (this.#open === undefined) throw new Error('there is no connection to Temporal yet');
    return this.#open;
  }

  get settings(): TemporalSettings {
    return this.#settings;
  }

  onReplaced(listener: (now: Connection, former: Connection) => void): void {
    this.#replaced.push(listener);
  }

  onApiKey(listener: (apiKey: string) => void): void {
    this.#keyed.push(listener);
  }

  explain(error: unknown): Promise<string> {
    return explainTemporal(error, this.#settings);
  }

  async reach(): Promise<void> {
    this.#open ??= await this.#connect(this.#settings);
    await this.#describe(this.#open);
  }

  async #describe(connection: Connection): Promise<void> {
    const { namespace } = this.#settings;
    await connection.withDeadline(Date.now() + CALL_MS, () =>
      connection.workflowService.describeNamespace({ namespace }),
    );
  }

  /** Never rejects. What cannot be read, or does not work yet, is tried again: a rotation is not one moment. */
  async #keepReading(): Promise<void> {
    const { log, signal } = this.#watchdogs;
    for (;;) {
      await pause(RELOAD_MS, signal);
      if (signal.aborted) return;
      try {
        await this.#read();
        this.#told = undefined;
      } catch (error) {
        const reason = (error as Error).message;
        if (reason !== this.#told) log.warn({ reason }, 'changed credentials for Temporal are not taken up yet');
        this.#told = reason;
      }
    }
  }

  async #read(): Promise<void> {
    const { log } = this.#watchdogs;
    const now = readTemporalSettings();
    switch (changeOf(this.#settings, now)) {
      case 'nothing':
        return;
      case 'apiKey': {
        const apiKey = now.connectionOptions.apiKey ?? '';
        await this.#open?.setApiKey(apiKey);
        this.#settings = now;
        for (const tell of this.#keyed) tell(apiKey);
        log.info('took up another API key for Temporal');
        return;
      }
      case 'connection':
        await this.#replace(now);
        log.info('took up changed credentials for Temporal: connected anew');
    }
  }

  async #replace(settings: TemporalSettings): Promise<void> {
    const former = this.#open;
    if (former === undefined) {
      // Not connected even once: the next attempt is made with what the files say now.
      this.#settings = settings;
      return;
    }
    const fresh = await this.#connect(settings);
    try {
      await this.#describe(fresh);
    } catch (error) {
      await fresh.close();
      throw new Error(await explainTemporal(error, settings), { cause: error });
    }
    this.#settings = settings;
    this.#open = fresh;
    for (const tell of this.#replaced) tell(fresh, former);
  }
}
