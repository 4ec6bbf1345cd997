{{/* Which Temporal is used: embedded, chart or external. The schema sees to it that exactly one is asked for. */}}
{{- define "kairos-operator.temporalChoice" -}}
{{- if .Values.embeddedTemporal.enabled -}}
embedded
{{- else if .Values.temporal.enabled -}}
{{- if not (hasKey .Subcharts "temporal") -}}
{{- fail "temporal.enabled is true, but the chart of Temporal is not in this copy of the chart of kairos-operator: use the chart itself, with its dependencies (helm dependency build), or another of embeddedTemporal.enabled, temporal.enabled and externalTemporal.address" -}}
{{- end -}}
chart
{{- else -}}
external
{{- end -}}
{{- end }}

{{/* The labels of the pods that the chart of Temporal makes. */}}
{{- define "kairos-operator.temporalChartPods" -}}
app.kubernetes.io/name: temporal
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
