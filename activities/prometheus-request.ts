import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import type { PrometheusServer } from '../api/schemas/prometheus-servers.ts';

/** How a server knows us, and we it. */
type Credentials = Partial<PrometheusServer>;

/**
 * Sends a form, and answers what came back, whatever its code. A redirect is not followed: the credentials are for this
 * server. Files are read at each call, so that a token that was renewed is the one that is sent.
 * @throws Error that names the address or the file; the signal's reason where it was aborted before that
 */
export async function postForm(
  address: string,
  form: Record<string, string>,
  credentials: Credentials,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  const url = new URL(address);
  const body = new URLSearchParams(form).toString();
  const authorization = await authorizationOf(credentials);
  const { caFile } = credentials;
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8');
  const headers = {
    'Content-Type': 'application/x-www-form-urlencoded',
    'Content-Length': Buffer.byteLength(body),
    ...(authorization === undefined ? {} : { Authorization: authorization }),
  };
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const send = url.protocol === 'http:' ? httpRequest : httpsRequest;
      const options = { method: 'POST', headers, signal, ...(ca === undefined ? {} : { ca }) };
      send(url, options, resolve).on('error', reject).end(body);
    });
    return { status: response.statusCode ?? 0, text: await text(response) };
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    throw new Error(`Prometheus ${address} does not answer: ${message || (code ?? 'no reason given')}`, {
      cause: error,
    });
  }
}

async function authorizationOf({ bearerTokenFile, username, passwordFile }: Credentials): Promise<string | undefined> {
  if (bearerTokenFile !== undefined) return `Bearer ${(await readFile(bearerTokenFile, 'utf8')).trim()}`;
  if (username === undefined || passwordFile === undefined) return undefined;
  const password = (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '');
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
