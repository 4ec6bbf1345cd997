import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { fileURLToPath } from 'node:url';

const CHART = fileURLToPath(new URL('../../deploy/charts/kairos-operator', import.meta.url));

/** Names a folder with the real chart of Temporal, to run all tests of the chart with it: what it holds is not ours to keep. */
const REAL = process.env['KAIROS_TEMPORAL_CHART'];

/** What Chart.yaml says of the chart of Temporal. */
export interface Dependency {
  name: string;
  version: string;
  repository: string;
  condition?: string;
}

export function dependencies(file: 'Chart.yaml' | 'Chart.lock'): Dependency[] {
  return (parse(readFileSync(path.join(CHART, file), 'utf8')) as { dependencies: Dependency[] }).dependencies;
}

const SERVICES = ['frontend', 'history', 'matching', 'worker'];

/** The labels by which that chart finds its pods, and those that its values add to all of its objects. */
const labels = (component: string, indent: number) =>
  [
    `app.kubernetes.io/component: ${component}`,
    'app.kubernetes.io/name: {{ .Chart.Name }}',
    'app.kubernetes.io/instance: {{ .Release.Name }}',
    'app.kubernetes.io/part-of: {{ .Chart.Name }}',
    '{{- with .Values.additionalLabels }}{{ toYaml . | nindent INDENT }}{{ end }}'.replace('INDENT', String(indent)),
  ].join(`\n${' '.repeat(indent)}`);

const pod = (component: string, values: string, containerValues: string, image: string, env: string) => `
    metadata:
      labels:
        ${labels(component, 8)}
    spec:
      serviceAccountName: {{ .Values.serviceAccount.name }}
      securityContext: {{ toJson ${values}.securityContext }}
      tolerations: {{ toJson ${component === 'database' ? '.Values.admintools' : values}.tolerations }}
      containers:
        - name: ${component}
          image: "{{ ${image}.repository }}:{{ ${image}.tag }}"
          securityContext: {{ toJson ${containerValues}.containerSecurityContext }}
          env: ${env}
`;

const deployment = (component: string, values: string, containerValues: string, env: string) => `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Values.fullnameOverride }}-${component}
  labels:
    ${labels(component, 4)}
spec:
  replicas: {{ .Values.server.replicaCount }}
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ .Chart.Name }}
      app.kubernetes.io/instance: {{ .Release.Name }}
      app.kubernetes.io/component: ${component}
  template:${pod(component, values, containerValues, `${values}.image`, env)}`;

const service = (component: string, ports: Readonly<Record<string, number>>) => `
apiVersion: v1
kind: Service
metadata:
  name: {{ .Values.fullnameOverride }}-${component}
  labels:
    ${labels(component, 4)}
spec:
  selector:
    app.kubernetes.io/name: {{ .Chart.Name }}
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/component: ${component}
  ports:
${Object.entries(ports)
  .map(([name, port]) => `    - { name: ${name}, port: ${port} }`)
  .join('\n')}`;

const schemaJob = `
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Values.fullnameOverride }}-schema-{{ .Release.Revision }}
  labels:
    ${labels('database', 4)}
  {{- if .Values.schema.useHelmHooks }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
  {{- end }}
spec:
  template:${pod('database', '.Values.schema', '.Values.schema', '.Values.admintools.image', '[]')}
      restartPolicy: OnFailure`;

/**
 * Puts a chart of the name and version of Temporal's into a copy of the chart of the operator, in the place where
 * `helm dependency build` would put that: a stand-in, which makes of our values what that chart makes of them as far as
 * ours relies on it (names, labels, ports, tolerations, security), or the real one.
 */
export function addTemporalChart(copy: string): void {
  const folder = path.join(copy, 'charts', 'temporal');
  if (REAL !== undefined && REAL !== '') {
    cpSync(REAL, folder, { recursive: true });
    return;
  }
  const [wanted] = dependencies('Chart.yaml');
  mkdirSync(path.join(folder, 'templates'), { recursive: true });
  writeFileSync(
    path.join(folder, 'Chart.yaml'),
    `apiVersion: v2\nname: ${wanted?.name}\nversion: ${wanted?.version}\ndescription: A stand-in.\n`,
  );
  const documents = [
    ...SERVICES.map((name) => deployment(name, '.Values.server', `.Values.server.${name}`, '[]')),
    deployment('web', '.Values.web', '.Values.web', '{{ toJson .Values.web.additionalEnv }}'),
    service('frontend', { 'grpc-rpc': 7233, http: 7243 }),
    service('web', { http: 8080 }),
    schemaJob,
  ];
  writeFileSync(path.join(folder, 'templates', 'all.yaml'), documents.join('\n---'));
}
