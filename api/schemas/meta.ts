import { z } from 'zod';

/** An RFC 3339 time, as the API server stores it. */
export const time = () => z.string().meta({ format: 'date-time' });

/** A list whose entries server-side apply merges by key (`x-kubernetes-list-map-keys`). */
export const mapList = <T extends z.ZodType>(item: T, key: string) =>
  z.array(item).meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] });

/** A validation that the API server runs in CEL, with the message that the user reads at `kubectl apply`. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

export const cel = (...rules: CelRule[]) => ({ 'x-kubernetes-validations': rules });

/**
 * A string that must match, with a message saying what to write. A plain `pattern` would show the user the expression
 * and nothing else. The expression runs in both engines: no look-around, no single quotes.
 */
export const written = (expression: RegExp, message: string) =>
  z
    .string()
    .refine((value) => expression.test(value), message)
    .meta(cel({ rule: `self.matches(r'${expression.source.replaceAll('\\/', '/')}')`, message }));

/** A length of time as people write it in Kubernetes: `30s`, `15m`, `1h30m`. */
export const duration = () =>
  written(
    /^([0-9]{1,5}h([0-9]{1,5}m)?([0-9]{1,5}s)?|[0-9]{1,5}m([0-9]{1,5}s)?|[0-9]{1,5}s)$/,
    'write a duration such as 30s, 15m or 1h30m',
  ).max(20);

const DOMAIN = '([a-zA-Z0-9-]{1,63}([.][a-zA-Z0-9-]{1,63})*|\\[[0-9a-fA-F:]{2,39}\\])(:[0-9]{1,5})?';
const PATH_PART = '[a-z0-9]+([._-]+[a-z0-9]+)*';
const TAG = '[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}';
const DIGEST = 'sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})';

/** The reference of a container image, as a container runtime takes it. */
export const imageReference = () =>
  written(
    new RegExp(`^(${DOMAIN}/)?${PATH_PART}(/${PATH_PART})*(:${TAG})?(@${DIGEST})?$`),
    'write an image reference such as quay.io/kairos/hadron:v4.0.3-k3sv1.33.9-k3s1: no oci: or https:// before it, no spaces, lower case, and - where a version has + (tags cannot hold +)',
  ).max(1000);

/** The key of a label, with or without a prefix. */
export const LABEL_KEY = '([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?';
export const LABEL_VALUE = '([a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?)?';

export const condition = z
  .object({
    type: z.string().max(316).describe('Kind of the condition, in CamelCase.'),
    status: z.enum(['True', 'False', 'Unknown']).describe('Whether the condition holds.'),
    reason: z.string().max(1024).describe('One CamelCase word saying why.'),
    message: z.string().max(32768).describe('What a person should know and do.'),
    observedGeneration: z.int().min(0).optional().describe('The generation of the spec that this was decided for.'),
    lastTransitionTime: time().describe('When the status last changed.'),
  })
  .describe('One named fact about the object, as in the Kubernetes API conventions.');
