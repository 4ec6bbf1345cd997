{{/* How every program of the operator finds Temporal: the environment of its container. */}}
{{- define "kairos-operator.temporalEnvironment" -}}
{{- $choice := include "kairos-operator.temporalChoice" . -}}
{{- if eq $choice "external" }}
- name: TEMPORAL_ADDRESS
  value: {{ .Values.externalTemporal.address | quote }}
- name: TEMPORAL_NAMESPACE
  value: {{ .Values.externalTemporal.namespace | quote }}
{{- with .Values.externalTemporal.tls }}
{{- if .enabled }}
- name: TEMPORAL_TLS
  value: 'true'
{{- with .serverName }}
- name: TEMPORAL_TLS_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- if .caSecret }}
- name: TEMPORAL_TLS_SERVER_CA_CERT_PATH
  value: /etc/kairos-operator/temporal-ca/ca.crt
{{- end }}
{{- if .clientSecret }}
- name: TEMPORAL_TLS_CLIENT_CERT_PATH
  value: /etc/kairos-operator/temporal-client/tls.crt
- name: TEMPORAL_TLS_CLIENT_KEY_PATH
  value: /etc/kairos-operator/temporal-client/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.externalTemporal.apiKey }}
{{- if .secret }}
- name: TEMPORAL_API_KEY_FILE
  value: /etc/kairos-operator/temporal-api-key/{{ .key }}
{{- end }}
{{- end }}
{{- else }}
# The Service's own address, as the kubelet puts it into the environment: cluster DNS runs on nodes that are
# being upgraded. A pod that was started before its Service was known fails by the words that were not replaced,
# and has it when it is started again.
- name: TEMPORAL_ADDRESS
  {{- if eq $choice "chart" }}
  value: $(KAIROS_TEMPORAL_FRONTEND_SERVICE_HOST):$(KAIROS_TEMPORAL_FRONTEND_SERVICE_PORT_GRPC_RPC)
  {{- else if eq .Values.embeddedTemporal.ipFamily "IPv6" }}
  value: '[$(KAIROS_TEMPORAL_SERVICE_HOST)]:$(KAIROS_TEMPORAL_SERVICE_PORT_GRPC)'
  {{- else }}
  value: $(KAIROS_TEMPORAL_SERVICE_HOST):$(KAIROS_TEMPORAL_SERVICE_PORT_GRPC)
  {{- end }}
- name: TEMPORAL_NAMESPACE
  {{- if eq $choice "chart" }}
  value: {{ (first .Values.temporal.server.config.namespaces.namespace).name | quote }}
  {{- else }}
  value: default
  {{- end }}
{{- end }}
{{- end }}

{{/* Whether that environment uses what the kubelet sets for the Services of the namespace. */}}
{{- define "kairos-operator.temporalByServiceLinks" -}}
{{- ne (include "kairos-operator.temporalChoice" .) "external" -}}
{{- end }}

{{/* What that environment names by path: the mounts of the container. */}}
{{- define "kairos-operator.temporalMounts" -}}
{{- range $volume, $_ := include "kairos-operator.temporalSecrets" . | fromJson }}
- name: {{ $volume }}
  mountPath: /etc/kairos-operator/{{ $volume }}
  readOnly: true
{{- end }}
{{- end }}

{{/* The volumes of those mounts. */}}
{{- define "kairos-operator.temporalVolumes" -}}
{{- range $volume, $mount := include "kairos-operator.temporalSecrets" . | fromJson }}
- name: {{ $volume }}
  secret:
    secretName: {{ $mount.secret }}
    # 0440, in the notation that all YAML parsers read alike: for the group alone.
    defaultMode: 288
    items:
      {{- range $mount.keys }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- end }}
{{- end }}

{{/* The Secrets of an external Temporal, by the name of their volume, as JSON. */}}
{{- define "kairos-operator.temporalSecrets" -}}
{{- $mounts := dict -}}
{{- if eq (include "kairos-operator.temporalChoice" .) "external" -}}
{{- with .Values.externalTemporal.tls -}}
{{- if .enabled -}}
{{- if .caSecret }}{{ $_ := set $mounts "temporal-ca" (dict "secret" .caSecret "keys" (list "ca.crt")) }}{{ end -}}
{{- if .clientSecret }}{{ $_ := set $mounts "temporal-client" (dict "secret" .clientSecret "keys" (list "tls.crt" "tls.key")) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with .Values.externalTemporal.apiKey -}}
{{- if .secret }}{{ $_ := set $mounts "temporal-api-key" (dict "secret" .secret "keys" (list .key)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $mounts -}}
{{- end }}
