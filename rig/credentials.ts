import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';

/** One cluster's authority and what it has signed: `<folder>/pki`. Made once for a folder. */
export interface Authority {
  /** PEM file. */
  readonly caFile: string;
  readonly serviceAccountKeyFile: string;
  readonly serviceAccountPublicFile: string;
  /** Signs a certificate. `subject` as OpenSSL writes it: `/O=group/CN=user`. */
  issue(certificate: CertificateRequest): Certificate;
  /** A kubeconfig, as text, for a user with a certificate of their own. */
  kubeconfig(user: { name: string; subject: string }, server: string): string;
}

export interface CertificateRequest {
  readonly name: string;
  readonly subject: string;
  /** Names and addresses of a server, as OpenSSL writes them: `DNS:localhost,IP:127.0.0.1`. Without: of a client. */
  readonly serves?: string;
}

export interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
}

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Uses the command `openssl`. Throws with what it said. */
export function openAuthority(folder: string): Authority {
  const pki = path.join(folder, 'pki');
  mkdirSync(pki, { recursive: true, mode: 0o700 });
  const file = (name: string) => path.join(pki, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [caFile, caKey] = [file('ca.crt'), file('ca.key')];
  if (!existsSync(caFile)) {
    const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature'];
    const added = extensions.flatMap((extension) => ['-addext', extension]);
    openssl('req', '-x509', ...EC_KEY, '-days', '365', '-subj', '/CN=rig', '-keyout', caKey, '-out', caFile, ...added);
    openssl('genrsa', '-out', file('service-accounts.key'), '2048');
    openssl('rsa', '-in', file('service-accounts.key'), '-pubout', '-out', file('service-accounts.pub'));
  }

  function issue({ name, subject, serves }: CertificateRequest): Certificate {
    const [certificateFile, keyFile] = [file(`${name}.crt`), file(`${name}.key`)];
    if (existsSync(certificateFile)) return { certificateFile, keyFile };
    const [request, extensions] = [file(`${name}.csr`), file(`${name}.ext`)];
    openssl('req', ...EC_KEY, '-subj', subject, '-keyout', keyFile, '-out', request);
    const lines = [
      'basicConstraints=CA:FALSE',
      'keyUsage=digitalSignature',
      `extendedKeyUsage=${serves === undefined ? 'clientAuth' : 'serverAuth'}`,
      ...(serves === undefined ? [] : [`subjectAltName=${serves}`]),
    ];
    writeFileSync(extensions, `${lines.join('\n')}\n`);
    const signed = ['-CA', caFile, '-CAkey', caKey, '-CAcreateserial', '-days', '365', '-extfile', extensions];
    openssl('x509', '-req', '-in', request, '-out', certificateFile, ...signed);
    return { certificateFile, keyFile };
  }

  const base64 = (name: string) => readFileSync(name).toString('base64');
  return {
    caFile,
    serviceAccountKeyFile: file('service-accounts.key'),
    serviceAccountPublicFile: file('service-accounts.pub'),
    issue,
    kubeconfig({ name, subject }, server) {
      const { certificateFile, keyFile } = issue({ name, subject });
      const user = { 'client-certificate-data': base64(certificateFile), 'client-key-data': base64(keyFile) };
      return stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'rig', cluster: { server, 'certificate-authority-data': base64(caFile) } }],
        users: [{ name, user }],
        contexts: [{ name: 'rig', context: { cluster: 'rig', user: name } }],
        'current-context': 'rig',
      });
    },
  };
}
