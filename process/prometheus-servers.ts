import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { prometheusServers, type PrometheusServer } from '../api/schemas/prometheus-servers.ts';

/**
 * The Prometheus servers that want credentials, from a file in YAML; without a file there are none. What the entries name
 * is looked at, too, so that a mistake is found before a rollout waits for it.
 * @throws Error that names the file, each wrong entry and what to write
 */
export function readPrometheusServers(file: string | undefined): PrometheusServer[] {
  if (file === undefined) return [];
  const fail = (why: string, cause?: unknown) => new Error(`Prometheus servers, ${file}: ${why}`, { cause });
  let given: unknown;
  try {
    given = parse(readFileSync(file, 'utf8')) ?? [];
  } catch (error) {
    throw fail(`cannot be read: ${(error as Error).message}`, error);
  }
  const parsed = prometheusServers.safeParse(given);
  const wrong = (parsed.error?.issues ?? []).map(({ path, message }) => `${path.join('.') || 'the list'}: ${message}`);
  if (!parsed.success) throw fail(wrong.join('; '));
  const unusable = parsed.data.flatMap(unusableFiles);
  if (unusable.length > 0) throw fail(unusable.join('; '));
  return parsed.data;
}

function unusableFiles({ url, caFile, bearerTokenFile, passwordFile }: PrometheusServer): string[] {
  const named = { caFile, bearerTokenFile, passwordFile };
  return Object.entries(named).flatMap(([name, file]) => {
    if (file === undefined) return [];
    const trouble = troubleWith(file, name === 'caFile');
    return trouble === undefined ? [] : [`${name} of ${url}: ${file} ${trouble}`];
  });
}

function troubleWith(file: string, isCertificate: boolean): string | undefined {
  let content: string;
  try {
    content = readFileSync(file, 'utf8').trim();
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`;
  }
  if (content === '') return 'is empty';
  if (!isCertificate) return undefined;
  try {
    // Throws where it is none.
    return new X509Certificate(content).raw.length > 0 ? undefined : 'is no certificate in PEM';
  } catch (error) {
    return `is no certificate in PEM: ${(error as Error).message}`;
  }
}
