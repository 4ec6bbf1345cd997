import type { KubeClient } from './client.ts';
import { type Preconditions, createOrRead, deleteObject } from './create.ts';
import { listAll } from './list.ts';
import type { NewObject, RawObject } from './raw-object.ts';

export interface JobView {
  name: string;
  namespace: string;
  uid: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  creationTimestamp: string;
  deleting: boolean;
  /** Pods that run or wait, succeeded and failed. */
  active: number;
  succeeded: number;
  failed: number;
  /** How it ended; absent while it has not. It comes about a second after the end of its pod. */
  ended?: { succeeded: boolean; reason: string; message: string };
}

/** Idempotent by name: a Job that is there already is returned as it is (it may be on its way out: `deleting`). */
export async function createJob(client: KubeClient, namespace: string, job: NewObject): Promise<JobView> {
  return jobView(await createOrRead(client, jobsPath(namespace), { apiVersion: 'batch/v1', kind: 'Job', ...job }));
}

/** Rejects with `NotFound` when there is none. */
export async function readJob(client: KubeClient, namespace: string, name: string): Promise<JobView> {
  return jobView(await client.request<RawObject>({ verb: 'get', path: jobPath(namespace, name) }));
}

/** The Jobs of a namespace that have this label. */
export async function listJobs(client: KubeClient, namespace: string, labelSelector: string): Promise<JobView[]> {
  const jobs: JobView[] = [];
  await listAll(client, jobsPath(namespace), { labelSelector }, (object) => jobs.push(jobView(object)));
  return jobs;
}

/** Deletes the Job and, in the background, its pods. One that is gone, or another one with `uid` given, is success. */
export async function deleteJob(
  client: KubeClient,
  namespace: string,
  name: string,
  options: Preconditions = {},
): Promise<void> {
  await deleteObject(client, jobPath(namespace, name), { ...options, propagationPolicy: 'Background' });
}

const jobsPath = (namespace: string) => `/apis/batch/v1/namespaces/${encodeURIComponent(namespace)}/jobs`;
const jobPath = (namespace: string, name: string) => `${jobsPath(namespace)}/${encodeURIComponent(name)}`;

interface JobStatus {
  active?: number;
  succeeded?: number;
  failed?: number;
  conditions?: { type: string; status: string; reason?: string; message?: string }[];
}

function jobView({ metadata, status }: RawObject): JobView {
  const { active = 0, succeeded = 0, failed = 0, conditions = [] } = (status ?? {}) as JobStatus;
  const end = conditions.find(({ type, status }) => status === 'True' && (type === 'Complete' || type === 'Failed'));
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? '',
    uid: metadata.uid,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    creationTimestamp: metadata.creationTimestamp ?? '',
    deleting: metadata.deletionTimestamp !== undefined,
    active,
    succeeded,
    failed,
    ...(end && {
      ended: { succeeded: end.type === 'Complete', reason: end.reason ?? '', message: end.message ?? '' },
    }),
  };
}
