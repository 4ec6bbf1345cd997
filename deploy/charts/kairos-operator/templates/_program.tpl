{{/* What watcher and worker have in common: root, name, values, graceSeconds; defaults of spec.strategy; Prometheus servers. */}}
{{- define "kairos-operator.program" -}}
{{- $root := .root -}}
{{- $name := printf "kairos-%s" .name -}}
{{- $defaults := .defaults | default dict -}}
{{- $prometheus := .prometheus | default list -}}
{{- $files := or $defaults $prometheus -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kairos-operator.labels" (dict "root" $root "name" $name) | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ $name }}
  template:
    metadata:
      labels:
        {{- include "kairos-operator.podLabels" (dict "name" $name) | nindent 8 }}
      {{- with $files }}
      annotations:
        # It reads the file when it starts.
        checksum/config: {{ toYaml . | sha256sum }}
      {{- end }}
    spec:
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: true
      # The address of Temporal comes from the links to Services, where it runs in this namespace.
      enableServiceLinks: {{ include "kairos-operator.temporalByServiceLinks" $root }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      terminationGracePeriodSeconds: {{ .graceSeconds }}
      {{- with include "kairos-operator.pullSecrets" (dict "root" $root "image" $root.Values.image) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- include "kairos-operator.placement" $root | trim | nindent 6 }}
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels:
                    app.kubernetes.io/name: {{ $name }}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              app.kubernetes.io/name: {{ $name }}
        {{- end }}
      securityContext:
        {{- include "kairos-operator.podSecurity" . | nindent 8 }}
      containers:
        - name: {{ .name }}
          image: {{ include "kairos-operator.image" (dict "root" $root "image" $root.Values.image) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ .name }}.mjs]
          env:
            {{- include "kairos-operator.environment" $root | nindent 12 }}
            - name: HEALTH_PORT
              value: '8081'
            {{- if $defaults }}
            - name: KAIROS_DEFAULTS_FILE
              value: /etc/kairos-operator/defaults/strategy.yaml
            {{- end }}
            {{- if $prometheus }}
            - name: KAIROS_PROMETHEUS_FILE
              value: /etc/kairos-operator/prometheus/servers.yaml
            {{- end }}
          ports:
            - name: health
              containerPort: 8081
          # The health port is served as soon as the program runs, whatever is missing around it.
          startupProbe:
            httpGet:
              path: /healthz
              port: health
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 60
          livenessProbe:
            httpGet:
              path: /healthz
              port: health
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet:
              path: /readyz
              port: health
            periodSeconds: 5
            timeoutSeconds: 5
          securityContext:
            {{- include "kairos-operator.containerSecurity" . | nindent 12 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- $mounts := include "kairos-operator.temporalMounts" $root | trim }}
          {{- if or $mounts $files }}
          volumeMounts:
            {{- with $mounts }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- if $defaults }}
            - name: defaults
              mountPath: /etc/kairos-operator/defaults
              readOnly: true
            {{- end }}
            {{- if $prometheus }}
            - name: prometheus
              mountPath: /etc/kairos-operator/prometheus
              readOnly: true
            {{- end }}
            {{- range $index, $server := $prometheus }}
            {{- if $server.secret }}
            - name: prometheus-{{ $index }}
              mountPath: {{ include "kairos-operator.prometheusFolder" $index }}
              readOnly: true
            {{- end }}
            {{- end }}
          {{- end }}
      {{- $volumes := include "kairos-operator.temporalVolumes" $root | trim }}
      {{- if or $volumes $files }}
      volumes:
        {{- with $volumes }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- if $defaults }}
        - name: defaults
          configMap:
            name: kairos-defaults
        {{- end }}
        {{- if $prometheus }}
        - name: prometheus
          configMap:
            name: kairos-prometheus
        {{- end }}
        {{- range $index, $server := $prometheus }}
        {{- if $server.secret }}
        - name: prometheus-{{ $index }}
          secret:
            secretName: {{ $server.secret }}
            # 0440, in the notation that all YAML parsers read alike: for the group alone.
            defaultMode: 288
            items:
              {{- range list $server.ca $server.bearerToken $server.password }}
              {{- with . }}
              - key: {{ . }}
                path: {{ . }}
              {{- end }}
              {{- end }}
        {{- end }}
        {{- end }}
      {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "kairos-operator.labels" (dict "root" $root "name" $name) | nindent 4 }}
spec:
  # Not a minimum: that would hold up every drain of a cluster with one node.
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      app.kubernetes.io/name: {{ $name }}
{{- end }}
