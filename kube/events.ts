import { createHash } from 'node:crypto';
import type { KubeClient } from './client.ts';
import { isReason } from './errors.ts';

/** Whom an Event is about. */
export interface EventObject {
  apiVersion: string;
  kind: string;
  /** Absent for what has no namespace, such as a KairosNode. */
  namespace?: string;
  name: string;
  uid: string;
}

export interface EventText {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

/** Who says it. */
export interface EventSource {
  component: string;
  instance: string;
}

const MESSAGE_BYTES = 1024;

/**
 * Writes an Event (core/v1) and answers its name. It is called by what it is about and `identity`, so the same thing
 * said again, by another process too, is found: `existed` is then true, and nothing was written.
 *
 * The core form, since it has what people look with: `kubectl describe` shows its source and its count, and
 * `kubectl get events --sort-by=.lastTimestamp` needs the time that the newer form leaves empty.
 */
export async function createEvent(
  client: KubeClient,
  about: EventObject,
  identity: string,
  { type, reason, message }: EventText,
  { component, instance }: EventSource,
): Promise<{ existed: boolean }> {
  const { namespace, name } = placeOf(about, identity);
  const now = timestamp();
  const body = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { namespace, name },
    involvedObject: about,
    type,
    reason,
    message: asLine(message),
    source: { component },
    reportingComponent: component,
    reportingInstance: instance,
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
  try {
    await client.request({ verb: 'create', path: collectionOf(namespace), body });
    return { existed: false };
  } catch (error) {
    if (isReason(error, 'AlreadyExists')) return { existed: true };
    throw error;
  }
}

/**
 * Notes that the same thing happened again, now with these words. Without `count` (it is not known, since another
 * process wrote the Event) only the time is brought up to date. Rejects with `NotFound` when the Event has expired.
 */
export async function repeatEvent(
  client: KubeClient,
  about: EventObject,
  identity: string,
  message: string,
  count: number | undefined,
): Promise<void> {
  const { namespace, name } = placeOf(about, identity);
  const body = {
    lastTimestamp: timestamp(),
    message: asLine(message),
    ...(count === undefined ? {} : { count }),
  };
  await client.request({ verb: 'merge-patch', path: `${collectionOf(namespace)}/${encodeURIComponent(name)}`, body });
}

/** The API server takes Events about what has no namespace in `default`, where kubectl looks for them. */
function placeOf(
  { namespace = 'default', name, uid }: EventObject,
  identity: string,
): { namespace: string; name: string } {
  const hash = createHash('sha256')
    .update(JSON.stringify([uid, identity]))
    .digest('hex')
    .slice(0, 16);
  // A name that is cut must not end in what no name may end in.
  return { namespace, name: `${name.slice(0, 200).replace(/[^a-z0-9]+$/, '')}.${hash}` };
}

const collectionOf = (namespace: string) => `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`;

/** In whole seconds: the API's `Time` has no more. */
const timestamp = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z');

/** kubectl's tables end a message at its first line break. */
function asLine(message: string): string {
  const text = message.trim().replaceAll(/\s*\n\s*/g, ' | ');
  const whole = Buffer.from(text);
  if (whole.length <= MESSAGE_BYTES) return text;
  // The mark of the cut has three bytes; a character that is cut through is left out.
  const begin = whole.subarray(0, MESSAGE_BYTES - 3).toString();
  return `${begin.replace(/\uFFFD+$/, '')}…`;
}
