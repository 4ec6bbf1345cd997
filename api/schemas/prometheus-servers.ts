import { z } from 'zod';

/** A file that is read when it is needed: what is mounted from a Secret changes while the worker runs. */
const file = z.string().regex(/^\//, 'write an absolute path');

const server = z
  .strictObject({
    /** Health gates whose address is this one, or below it, are asked with what follows. */
    url: z
      .string()
      .regex(/^https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?$/, 'write an address such as https://prometheus.monitoring:9090'),
    /** Certificates in PEM of those who may have signed that of the server; in the place of those of Node.js. */
    caFile: file.optional(),
    bearerTokenFile: file.optional(),
    username: z.string().min(1).optional(),
    passwordFile: file.optional(),
  })
  .refine(
    ({ url, caFile }) => caFile === undefined || url.startsWith('https:'),
    'caFile is for https: write the url with it, or leave caFile out',
  )
  .refine(
    ({ username, passwordFile }) => (username === undefined) === (passwordFile === undefined),
    'username and passwordFile go together',
  )
  .refine(
    ({ bearerTokenFile, username }) => bearerTokenFile === undefined || username === undefined,
    'bearerTokenFile and username are two ways to be known: keep one',
  );

/** The Prometheus servers that want credentials, or have a certificate of their own. */
export const prometheusServers = z
  .array(server)
  .refine(
    (servers) => new Set(servers.map(({ url }) => url.replace(/\/$/, ''))).size === servers.length,
    'the same url is there twice',
  );

export type PrometheusServer = z.infer<typeof server>;
