{{- define "kairos-operator.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: kairos-operator
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- end }}

{{/* Of pods. A drain spares what is part of kairos-operator. Nothing here that a new version of the chart changes. */}}
{{- define "kairos-operator.podLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: kairos-operator
{{- end }}

{{/* The reference of an image: root, image (values), name (of the values around it, for messages; none at the top). */}}
{{- define "kairos-operator.image" -}}
{{- if not .image.repository -}}
{{- $value := printf "%s.image.repository" (.name | default "") | trimPrefix "." -}}
{{- fail (printf "%s is not set: images of kairos-operator are not published yet; build yours, push it where the nodes can pull it, and set %s" $value $value) -}}
{{- end -}}
{{- $registry := .root.Values.imageRegistry | default .image.registry -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "kairos-operator.pullSecrets" -}}
{{- with concat .root.Values.imagePullSecrets .image.pullSecrets | uniq }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where watcher, worker and Temporal run: never kept out by our own cordon, and away from a dead node after 5 minutes. */}}
{{- define "kairos-operator.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
tolerations:
  - key: node.kubernetes.io/unschedulable
    operator: Exists
    effect: NoSchedule
  - key: node-role.kubernetes.io/control-plane
    operator: Exists
  - key: node-role.kubernetes.io/master
    operator: Exists
  - key: node-role.kubernetes.io/etcd
    operator: Exists
  - key: node.kubernetes.io/not-ready
    operator: Exists
    effect: NoExecute
    tolerationSeconds: 300
  - key: node.kubernetes.io/unreachable
    operator: Exists
    effect: NoExecute
    tolerationSeconds: 300
  {{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "kairos-operator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The namespaces other than that of the release in which NodeOpUpgrades are carried out, as a JSON list. */}}
{{- define "kairos-operator.furtherNamespaces" -}}
{{- without (.Values.namespaces | default list | uniq) .Release.Namespace | toJson -}}
{{- end }}

{{/* Where the Leases on nodes are that are shared with other tools; empty where they are not. */}}
{{- define "kairos-operator.nodeLeaseNamespace" -}}
{{- $there := lookup "v1" "Namespace" "" .Values.nodeLeases.namespace -}}
{{- $enabled := toString .Values.nodeLeases.enabled -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") $there) }}{{ .Values.nodeLeases.namespace }}{{ end -}}
{{- end }}

{{/* Where the worker finds what of its Secret a Prometheus server is asked with, by the place of that in its list. */}}
{{- define "kairos-operator.prometheusFolder" -}}
/etc/kairos-operator/prometheus-{{ . }}
{{- end }}

{{- define "kairos-operator.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Mounted Secrets are readable by this group.
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* What every program of the operator is told about its surroundings. */}}
{{- define "kairos-operator.environment" -}}
- name: KAIROS_CLUSTER_NAME
  value: {{ .Values.clusterName | quote }}
- name: KAIROS_NAMESPACE
  value: {{ .Release.Namespace | quote }}
{{- with include "kairos-operator.furtherNamespaces" . | fromJsonArray }}
- name: KAIROS_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- with include "kairos-operator.nodeLeaseNamespace" . }}
- name: KAIROS_NODE_LEASE_NAMESPACE
  value: {{ . | quote }}
{{- end }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: LOG_LEVEL
  value: {{ .Values.logLevel }}
{{ include "kairos-operator.temporalEnvironment" . | trim }}
{{- end }}
