import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import {
  connect,
  constants,
  createSecureServer,
  type ClientHttp2Session,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type Http2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../sim/ports.ts';

const run = promisify(execFile);
const { HTTP2_HEADER_AUTHORIZATION, HTTP2_HEADER_STATUS, HTTP2_HEADER_CONTENT_TYPE } = constants;
const UNAUTHENTICATED = '16';

/** One generation of a certificate authority, with a certificate of a server and one of a client by it; PEM files. */
export interface Authority {
  readonly ca: string;
  readonly server: { cert: string; key: string };
  readonly client: { cert: string; key: string };
}

/** Makes them with openssl: Node makes keys, but no certificates. */
export async function makeAuthority(folder: string, name: string): Promise<Authority> {
  const own = path.join(folder, name);
  mkdirSync(own, { recursive: true });
  const at = (file: string) => path.join(own, file);
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'];
  await run('openssl', ['req', '-x509', ...ec, '-subj', `/CN=${name}`, '-keyout', at('ca.key'), '-out', at('ca.crt')]);
  for (const who of ['server', 'client']) {
    const request = [
      'req',
      '-x509',
      ...ec,
      '-subj',
      `/CN=${who}`,
      '-addext',
      'subjectAltName=IP:127.0.0.1,DNS:localhost',
    ];
    const signer = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-addext', 'basicConstraints=critical,CA:false'];
    await run('openssl', [...request, ...signer, '-keyout', at(`${who}.key`), '-out', at(`${who}.crt`)]);
  }
  const pair = (who: string) => ({ cert: at(`${who}.crt`), key: at(`${who}.key`) });
  return { ca: at('ca.crt'), server: pair('server'), client: pair('client') };
}

/** A folder as kubelet mounts a Secret: the files are links into `..data`, which is swapped as a whole. */
export class MountedSecret {
  readonly folder: string;
  #generation = 0;

  constructor(folder: string, files: Record<string, string>) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    this.write(files);
    for (const name of Object.keys(files)) symlinkSync(path.join('..data', name), this.at(name));
  }

  at(name: string): string {
    return path.join(this.folder, name);
  }

  write(files: Record<string, string>): void {
    const data = `..generation_${(this.#generation += 1)}`;
    mkdirSync(this.at(data));
    for (const [name, text] of Object.entries(files)) writeFileSync(path.join(this.at(data), name), text);
    symlinkSync(data, this.at('..data_tmp'));
    renameSync(this.at('..data_tmp'), this.at('..data'));
  }
}

/** What a Temporal with mutual TLS and API keys lets in, in front of one that asks nobody. */
export interface TemporalDoor {
  readonly address: string;
  /** Trusts these clients and shows this server from now on; connections that are open break, as in a restart. */
  serve(authority: Authority): void;
  /** Knows this key and no other from now on; undefined: asks for none. */
  require(apiKey: string | undefined): void;
  /** Calls that were let in since the last question. */
  letIn(): number;
  close(): Promise<void>;
}

export async function openTemporalDoor(temporalAddress: string, authority: Authority): Promise<TemporalDoor> {
  const port = await freePort();
  const tls = ({ ca, server }: Authority) => ({
    ca: readFileSync(ca),
    cert: readFileSync(server.cert),
    key: readFileSync(server.key),
  });
  const sessions = new Set<Http2Session>();
  let apiKey: string | undefined;
  let count = 0;
  const server: Http2SecureServer = createSecureServer({
    ...tls(authority),
    requestCert: true,
    rejectUnauthorized: true,
  });
  const inner = new Map<Http2Session, ClientHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    const upstream = connect(`http://${temporalAddress}`);
    upstream.on('error', () => session.destroy());
    inner.set(session, upstream);
    session.on('error', () => undefined);
    session.on('close', () => {
      sessions.delete(session);
      inner.delete(session);
      upstream.destroy();
    });
  });
  server.on('stream', (stream, headers) => {
    const { session } = stream;
    const upstream = session === undefined ? undefined : inner.get(session);
    stream.on('error', () => undefined);
    if (upstream === undefined) return stream.destroy();
    if (apiKey !== undefined && headers[HTTP2_HEADER_AUTHORIZATION] !== `Bearer ${apiKey}`) return refuse(stream);
    count += 1;
    pass(stream, headers, upstream);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${port}`,
    serve(next) {
      server.setSecureContext(tls(next));
      for (const session of sessions) session.destroy();
    },
    require: (key) => void (apiKey = key),
    letIn() {
      const seen = count;
      count = 0;
      return seen;
    },
    async close() {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function refuse(stream: ServerHttp2Stream): void {
  const answer = { 'grpc-status': UNAUTHENTICATED, 'grpc-message': 'unknown API key' };
  stream.respond(
    { [HTTP2_HEADER_STATUS]: 200, [HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc', ...answer },
    { endStream: true },
  );
}

function pass(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, upstream: ClientHttp2Session): void {
  const { [HTTP2_HEADER_AUTHORIZATION]: _authorization, ...rest } = headers;
  const request = upstream.request(rest);
  let trailers: IncomingHttpHeaders = {};
  request.on('error', () => stream.close());
  request.on('response', (answer, flags) => {
    if (stream.destroyed) return;
    const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    stream.respond(answer, endStream ? { endStream } : { waitForTrailers: true });
  });
  request.on('trailers', (last) => void (trailers = last));
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.on('aborted', () => request.close(constants.NGHTTP2_CANCEL));
  stream.pipe(request);
  request.pipe(stream);
}
