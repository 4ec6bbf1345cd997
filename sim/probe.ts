import { request } from 'node:https';

export interface Probe {
  readonly url: string;
  /** PEM of the authority; without it the server's certificate is not checked (self-signed health endpoints). */
  readonly ca?: string;
  readonly token?: string;
  readonly signal?: AbortSignal;
}

/** One GET over a connection of its own; the status code of the answer. Rejects when there is no answer. */
export function statusOf(probe: Probe): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(
      probe.url,
      {
        agent: false,
        ...(probe.ca === undefined ? { rejectUnauthorized: false } : { ca: probe.ca }),
        ...(probe.token === undefined ? {} : { headers: { authorization: `Bearer ${probe.token}` } }),
        ...(probe.signal === undefined ? {} : { signal: probe.signal }),
      },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      },
    );
    asked.once('error', reject);
    asked.end();
  });
}
