import type { Sample } from '../policy/health.ts';

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
 * What a Prometheus, or something with its API, says to a query now.
 * @throws Error that names the address, why there is no answer, and what to look at
 */
export async function queryPrometheus(url: string, query: string, signal: AbortSignal): Promise<Sample[]> {
  const address = `${url.replace(/\/$/, '')}/api/v1/query`;
  const { status, answer } = await post(address, query, signal);
  if (answer?.status !== 'success') {
    const why = answer?.error ?? `HTTP ${status}, which is no answer of Prometheus`;
    throw new Error(`Prometheus ${address} refuses the query ${query}: ${why}`);
  }
  const { resultType, result } = answer.data ?? {};
  if (resultType === 'scalar') return [{ labels: {}, value: numberOf((result as [number, string])[1]) }];
  if (resultType === 'vector')
    return (result as Series[]).map(({ metric = {}, value }) => ({ labels: metric, value: numberOf(value?.[1]) }));
  throw new Error(`the query ${query} answers a ${resultType ?? 'nothing'}: write one that answers numbers of now`);
}

async function post(address: string, query: string, signal: AbortSignal) {
  try {
    const response = await fetch(address, { method: 'POST', body: new URLSearchParams({ query }), signal });
    const text = await response.text();
    return { status: response.status, answer: parsed(text) };
  } catch (error) {
    // fetch says only that it failed; what failed is behind it.
    const { message, code } = ((error as Error).cause ?? error) as Error & { code?: string };
    throw new Error(`Prometheus ${address} does not answer: ${message || (code ?? 'no reason given')}`, {
      cause: error,
    });
  }
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
