{{- /*
Nobody comes in but who may scrape metrics: what a node asks of its own pods, such as the kubelet's probes, no NetworkPolicy
stops. Out to the API server and, where asked for, Temporal: root, name, namespace, usesTemporal; annotations of a hook.
*/}}
{{- define "kairos-operator.networkPolicy" -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "kairos-operator.labels" (dict "root" .root "name" .name) | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ .name }}
  policyTypes: [Ingress, Egress]
  {{- $peers := ternary .root.Values.networkPolicy.monitoringPeers list (has .name (list "kairos-watcher" "kairos-worker")) }}
  {{- with $peers }}
  ingress:
    - ports:
        - port: 8081
      from:
        {{- toYaml . | nindent 8 }}
  {{- else }}
  ingress: []
  {{- end }}
  egress:
    # The port of its Service and that of its machines: networks look before or after the one became the other.
    - ports:
        {{- range .root.Values.networkPolicy.apiServerPorts }}
        - port: {{ . }}
        {{- end }}
      {{- with .root.Values.networkPolicy.apiServerPeers }}
      to:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- if .usesTemporal }}
    {{- include "kairos-operator.temporalEgress" .root | trim | nindent 4 }}
    {{- end }}
    {{- if eq .name "kairos-worker" }}
    {{- with .root.Values.networkPolicy.workerEgress }}
    # What health gates ask.
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
{{- end }}

{{- /* As text, in a JSON list: numbers from a file are fractions, others are not. */}}
{{- define "kairos-operator.apiServerPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.apiServerPorts }}{{ $ports = append $ports (int . | toString) }}{{ end -}}
{{- toJson $ports -}}
{{- end }}

{{/* Where the programs that use Temporal are let out to for it: rules of a NetworkPolicy. */}}
{{- define "kairos-operator.temporalEgress" -}}
{{- $choice := include "kairos-operator.temporalChoice" . -}}
{{- if eq $choice "embedded" }}
- ports:
    - port: 7233
  to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: kairos-temporal
{{- else if eq $choice "chart" }}
- ports:
    - port: 7233
  to:
    - podSelector:
        matchLabels:
          {{- include "kairos-operator.temporalChartPods" . | nindent 10 }}
          app.kubernetes.io/component: frontend
{{- else }}
{{- $port := regexFind ":[0-9]+$" .Values.externalTemporal.address | trimPrefix ":" | default "7233" }}
- ports:
    - port: {{ $port }}
  {{- with .Values.networkPolicy.temporalPeers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- $isAddress := regexMatch "^([0-9.]+|\\[.*\\])(:[0-9]+)?$" .Values.externalTemporal.address }}
{{- if not $isAddress }}
# Its name has to be resolved. Who answers differs from cluster to cluster.
- ports:
    - port: 53
      protocol: UDP
    - port: 53
{{- end }}
{{- end }}
{{- end }}
