{{/* What watcher and worker have in common: root, name, values, graceSeconds. */}}
{{- define "kairos-operator.program" -}}
{{- $root := .root -}}
{{- $name := printf "kairos-%s" .name -}}
{{- $external := $root.Values.externalTemporal -}}
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
    spec:
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: true
      # Of the embedded Temporal, the address comes from the links to Services.
      enableServiceLinks: {{ $root.Values.embeddedTemporal.enabled }}
      priorityClassName: {{ $root.Values.priorityClassName }}
      terminationGracePeriodSeconds: {{ .graceSeconds }}
      {{- with include "kairos-operator.pullSecrets" (dict "root" $root "image" .values.image) | trim }}
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
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        # Mounted Secrets are readable by this group.
        fsGroup: 65532
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: {{ .name }}
          image: {{ include "kairos-operator.image" (dict "root" $root "image" .values.image "name" .name) | quote }}
          imagePullPolicy: {{ .values.image.pullPolicy }}
          {{- with .values.command }}
          command:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          env:
            - name: KAIROS_CLUSTER_NAME
              value: {{ $root.Values.clusterName | quote }}
            - name: KAIROS_NAMESPACE
              value: {{ $root.Release.Namespace | quote }}
            {{- with include "kairos-operator.furtherNamespaces" $root | fromJsonArray }}
            - name: KAIROS_NAMESPACES
              value: {{ join "," . | quote }}
            {{- end }}
            - name: POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
            - name: LOG_LEVEL
              value: {{ $root.Values.logLevel }}
            - name: HEALTH_PORT
              value: '8081'
            {{- if $root.Values.embeddedTemporal.enabled }}
            # The Service's own address, as the kubelet puts it into the environment: cluster DNS runs on nodes that are
            # being upgraded. A pod that was started before its Service was known fails by the words that were not replaced,
            # and has it when it is started again.
            - name: TEMPORAL_ADDRESS
              {{- if eq $root.Values.embeddedTemporal.ipFamily "IPv6" }}
              value: '[$(KAIROS_TEMPORAL_SERVICE_HOST)]:$(KAIROS_TEMPORAL_SERVICE_PORT_GRPC)'
              {{- else }}
              value: $(KAIROS_TEMPORAL_SERVICE_HOST):$(KAIROS_TEMPORAL_SERVICE_PORT_GRPC)
              {{- end }}
            - name: TEMPORAL_NAMESPACE
              value: default
            {{- else }}
            - name: TEMPORAL_ADDRESS
              value: {{ $external.address | quote }}
            - name: TEMPORAL_NAMESPACE
              value: {{ $external.namespace | quote }}
            {{- with $external.tls }}
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
            {{- with $external.apiKey }}
            {{- if .secret }}
            - name: TEMPORAL_API_KEY
              valueFrom:
                secretKeyRef:
                  name: {{ .secret }}
                  key: {{ .key }}
            {{- end }}
            {{- end }}
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
          {{- $mounts := include "kairos-operator.temporalSecrets" $root | fromJson }}
          {{- with $mounts }}
          volumeMounts:
            {{- range $volume, $_ := . }}
            - name: {{ $volume }}
              mountPath: /etc/kairos-operator/{{ $volume }}
              readOnly: true
            {{- end }}
          {{- end }}
      {{- with $mounts }}
      volumes:
        {{- range $volume, $mount := . }}
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

{{/* The Secrets of an external Temporal, by the name of their volume, as JSON. */}}
{{- define "kairos-operator.temporalSecrets" -}}
{{- $mounts := dict -}}
{{- with .Values.externalTemporal.tls -}}
{{- if and .enabled (not $.Values.embeddedTemporal.enabled) -}}
{{- if .caSecret }}{{ $_ := set $mounts "temporal-ca" (dict "secret" .caSecret "keys" (list "ca.crt")) }}{{ end -}}
{{- if .clientSecret }}{{ $_ := set $mounts "temporal-client" (dict "secret" .clientSecret "keys" (list "tls.crt" "tls.key")) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $mounts -}}
{{- end }}
