import { describe, expect, it } from '@jest/globals';
import type { KubeClient, KubeRequest } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { createEvent, repeatEvent, type EventObject } from '../../kube/events.ts';

const NODE: EventObject = { apiVersion: 'kairos.io/v1alpha1', kind: 'KairosNode', name: 'worker-1', uid: 'u-1' };
const UPGRADE: EventObject = { ...NODE, kind: 'NodeOpUpgrade', namespace: 'fleet', name: 'v4', uid: 'u-2' };
const SOURCE = { component: 'kairos-watcher', instance: 'watcher-0' };
const text = (message: string) => ({ type: 'Warning', reason: 'Lost', message }) as const;

interface Written {
  metadata: { name: string; namespace: string };
  message: string;
  count: number;
}

/** A client that keeps what it is asked, and answers with these errors first. */
function clientWith(...errors: Error[]) {
  const asked: KubeRequest[] = [];
  const client: KubeClient = {
    request: <T>(request: KubeRequest) => {
      asked.push(request);
      const error = errors.shift();
      return error === undefined ? Promise.resolve({} as T) : Promise.reject(error);
    },
    watch: () => Promise.reject(new Error('not asked')),
    close: () => Promise.resolve(),
  };
  return { client, asked, body: () => asked.at(-1)?.body as Written };
}
const refused = (reason: string) =>
  new KubeError(reason, { verb: 'create', path: '/events', reason, retryable: false, code: 409 });

describe('an Event', () => {
  it('about what has no namespace goes to default, and says who says it', async () => {
    const { client, asked, body } = clientWith();
    await createEvent(client, NODE, 'Lost/1', text('not Ready'), SOURCE);
    expect(asked[0]).toMatchObject({ verb: 'create', path: '/api/v1/namespaces/default/events' });
    expect(body()).toMatchObject({
      involvedObject: NODE,
      type: 'Warning',
      reason: 'Lost',
      message: 'not Ready',
      source: { component: 'kairos-watcher' },
      reportingComponent: 'kairos-watcher',
      reportingInstance: 'watcher-0',
      count: 1,
    });
  });

  it('has a name of what it is about and what it says: the same for all who say it, and for nothing else', async () => {
    const { client, body } = clientWith();
    const nameOf = async (about: EventObject, identity: string, message: string) => {
      await createEvent(client, about, identity, text(message), SOURCE);
      return body().metadata.name;
    };
    const name = await nameOf(NODE, 'Lost/1', 'not Ready');
    expect(name).toMatch(/^worker-1\.[0-9a-f]{16}$/);
    expect(await nameOf(NODE, 'Lost/1', 'other words')).toBe(name);
    const others = [
      await nameOf(NODE, 'Lost/2', 'not Ready'),
      await nameOf({ ...NODE, uid: 'u-9' }, 'Lost/1', 'not Ready'),
    ];
    expect(new Set([name, ...others]).size).toBe(3);
    expect(await nameOf({ ...NODE, name: `${'a'.repeat(199)}.${'b'.repeat(50)}` }, 'x', 'y')).toMatch(
      /^a{199}\.[0-9a-f]{16}$/,
    );
  });

  it('that is there already was said before; any other refusal is told', async () => {
    expect(await createEvent(clientWith(refused('AlreadyExists')).client, UPGRADE, 'x', text('y'), SOURCE)).toEqual({
      existed: true,
    });
    await expect(createEvent(clientWith(refused('Forbidden')).client, UPGRADE, 'x', text('y'), SOURCE)).rejects.toThrow(
      'Forbidden',
    );
  });

  it.each([
    ['is one line', 'it ended with 1:\n  no space left\n', 'it ended with 1: | no space left'],
    ['is cut to 1024 bytes', 'x'.repeat(2000), `${'x'.repeat(1021)}…`],
    ['is not cut within a character', `xx${'→'.repeat(600)}`, `xx${'→'.repeat(339)}…`],
  ])('%s', async (_, message, expected) => {
    const { client, body } = clientWith();
    await createEvent(client, NODE, 'x', text(message), SOURCE);
    expect(body().message).toBe(expected);
    expect(Buffer.byteLength(body().message)).toBeLessThanOrEqual(1024);
  });

  it('that happens again is counted under its name, where the count is known', async () => {
    const { client, asked, body } = clientWith();
    await createEvent(client, UPGRADE, 'x', text('first'), SOURCE);
    const { name } = body().metadata;
    await repeatEvent(client, UPGRADE, 'x', 'again', 3);
    expect(asked[1]).toMatchObject({
      verb: 'merge-patch',
      path: `/api/v1/namespaces/fleet/events/${name}`,
      body: { message: 'again', count: 3 },
    });
    await repeatEvent(client, UPGRADE, 'x', 'again', undefined);
    expect(body()).not.toHaveProperty('count');
  });
});
