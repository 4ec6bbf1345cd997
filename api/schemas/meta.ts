import { z } from 'zod';

/** A length of time as people write it in Kubernetes: `30s`, `15m`, `1h30m`. */
export const duration = () => z.string().regex(/^([0-9]+h)?([0-9]+m)?([0-9]+s)?$/).min(2).max(20);

/** An RFC 3339 time, as the API server stores it. */
export const time = () => z.string().meta({ format: 'date-time' });

/** A list whose entries server-side apply merges by key (RULES of the API server: `x-kubernetes-list-map-keys`). */
export const mapList = <T extends z.ZodType>(item: T, key: string) =>
  z.array(item).meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [key] });

/** A validation that the API server runs in CEL, with the message that the user reads at `kubectl apply`. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

export const cel = (...rules: CelRule[]) => ({ 'x-kubernetes-validations': rules });

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
