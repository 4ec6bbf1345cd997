import type { PrometheusServer } from '../api/schemas/prometheus-servers.ts';
import type { Sample } from '../policy/health.ts';
import { serverFor } from '../policy/prometheus-server.ts';
import { postForm } from './prometheus-request.ts';

interface Answer {
  status?: string;
  error?: string;
  data?: { resultType?: string; result?: unknown };
}

interface Series {
  metric?: Record<string, string>;
  value?: [number, string];
}

/**
 * What a Prometheus, or something with its API, says to a query now; asked with the credentials of the server that its
 * address belongs to, and with no others.
 * @throws Error that names the address, why there is no answer, and what to look at
 */
export async function queryPrometheus(
  { url, query }: { url: string; query: string },
  servers: readonly PrometheusServer[],
  signal: AbortSignal,
): Promise<Sample[]> {
  const address = `${url.replace(/\/$/, '')}/api/v1/query`;
  const server = serverFor(url, servers);
  const { status, text } = await postForm(address, { query }, server ?? {}, signal);
  const answer = parsed(text);
  if (answer?.status !== 'success') throw new Error(refusedText({ address, query, status, answer }, server));
  const { resultType, result } = answer.data ?? {};
  if (resultType === 'scalar') return [{ labels: {}, value: numberOf((result as [number, string])[1]) }];
  if (resultType === 'vector')
    return (result as Series[]).map(({ metric = {}, value }) => ({ labels: metric, value: numberOf(value?.[1]) }));
  throw new Error(`the query ${query} answers a ${resultType ?? 'nothing'}: write one that answers numbers of now`);
}

function refusedText(
  { address, query, status, answer }: { address: string; query: string; status: number; answer: Answer | undefined },
  server: PrometheusServer | undefined,
): string {
  if (status === 401 || status === 403) {
    const known =
      server === undefined ? 'the worker has no credentials for it' : `with the credentials of ${server.url}`;
    return `Prometheus ${address} refuses us (HTTP ${status}), ${known}: see worker.prometheus in the values of the chart`;
  }
  const why = answer?.error ?? `HTTP ${status}, which is no answer of Prometheus`;
  return `Prometheus ${address} refuses the query ${query}: ${why}`;
}

function parsed(text: string): Answer | undefined {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    return undefined;
  }
}

/** Prometheus writes infinities as +Inf and -Inf. */
function numberOf(text: string | undefined): number {
  if (text === '+Inf' || text === '-Inf') return text === '+Inf' ? Infinity : -Infinity;
  return text === undefined ? NaN : Number(text);
}
