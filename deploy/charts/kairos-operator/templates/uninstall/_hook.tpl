{{/* Made before anything is deleted, gone when the guard has ended, whatever its answer was: weight. */}}
{{- define "kairos-operator.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
