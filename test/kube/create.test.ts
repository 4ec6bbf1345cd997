import { describe, expect, it } from '@jest/globals';
import type { KubeClient, KubeRequest } from '../../kube/client.ts';
import { createOrRead, deleteObject } from '../../kube/create.ts';
import { errorFromAnswer } from '../../kube/errors.ts';
import { status } from './fake-api-server.ts';

type Answer = [code: number, body: unknown];

const conflict: Answer = [409, status(409, 'Conflict', 'Operation cannot be fulfilled')];
const missing: Answer = [404, status(404, 'NotFound', 'pods "p" not found')];
const exists: Answer = [409, status(409, 'AlreadyExists', 'pods "p" already exists')];
const object = (uid: string): Answer => [200, { metadata: { name: 'p', uid, resourceVersion: '1' } }];

/** A client that gives these answers, one after the other. */
function answering(...answers: Answer[]): { client: KubeClient; verbs: string[] } {
  const verbs: string[] = [];
  const request = ({ verb, path }: KubeRequest): Promise<unknown> => {
    verbs.push(verb);
    const [code, body] = answers.shift() ?? [500, 'asked too often'];
    return code < 400 ? Promise.resolve(body) : Promise.reject(errorFromAnswer({ verb, path }, { code, body }));
  };
  return { client: { request } as unknown as KubeClient, verbs };
}

describe('a delete with a UID', () => {
  it.each<[string, Answer[]]>([
    ['is gone', [missing]],
    ['was replaced', [conflict, object('other')]],
    ['went meanwhile', [conflict, missing]],
  ])('is done when the object %s', async (_, answers) => {
    await deleteObject(answering(...answers).client, '/p', { uid: 'mine' });
  });

  it('is not done when the object is still there after a Conflict about something else', async () => {
    const { client, verbs } = answering(conflict, object('mine'));
    await expect(deleteObject(client, '/p', { uid: 'mine' })).rejects.toMatchObject({ reason: 'Conflict' });
    expect(verbs).toEqual(['delete', 'get']);
  });
});

describe('a create', () => {
  const create = (client: KubeClient) => createOrRead(client, '/ps', { metadata: { name: 'p' }, spec: {} });

  it.each<[string, Answer[], string[]]>([
    ['makes it', [object('new')], ['create']],
    ['finds it', [exists, object('new')], ['create', 'get']],
    [
      'makes it again when it went',
      [exists, missing, exists, missing, object('new')],
      ['create', 'get', 'create', 'get', 'create'],
    ],
  ])('%s', async (_, answers, asked) => {
    const { client, verbs } = answering(...answers);
    expect((await create(client)).metadata.uid).toBe('new');
    expect(verbs).toEqual(asked);
  });

  it('ends when that goes on', async () => {
    const { client } = answering(exists, missing, exists, missing, exists, missing);
    await expect(create(client)).rejects.toMatchObject({ reason: 'AlreadyExists' });
  });
});
