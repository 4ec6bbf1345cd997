{{/* The pod of a program that does one thing and ends: root, name, resources, environment (further variables). */}}
{{- define "kairos-operator.errand" -}}
{{- $root := .root -}}
serviceAccountName: kairos-{{ .name }}
automountServiceAccountToken: true
# The address of Temporal comes from the links to Services, where it runs in this namespace.
enableServiceLinks: {{ include "kairos-operator.temporalByServiceLinks" $root }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
restartPolicy: Never
{{- with include "kairos-operator.pullSecrets" (dict "root" $root "image" $root.Values.image) | trim }}
{{ . }}
{{- end }}
{{ include "kairos-operator.placement" $root | trim }}
securityContext:
  {{- include "kairos-operator.podSecurity" . | nindent 2 }}
containers:
  - name: {{ .name }}
    image: {{ include "kairos-operator.image" (dict "root" $root "image" $root.Values.image) | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args: [{{ .name }}.mjs]
    env:
      {{- include "kairos-operator.environment" $root | nindent 6 }}
      {{- with .environment }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    # What it says last is shown with the pod, too.
    terminationMessagePolicy: FallbackToLogsOnError
    securityContext:
      {{- include "kairos-operator.containerSecurity" . | nindent 6 }}
    resources:
      {{- toYaml .resources | nindent 6 }}
    {{- with include "kairos-operator.temporalMounts" $root | trim }}
    volumeMounts:
      {{- . | nindent 6 }}
    {{- end }}
{{- with include "kairos-operator.temporalVolumes" $root | trim }}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}
