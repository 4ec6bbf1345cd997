{{/*
The volume of a StatefulSet of one pod: from a StorageClass, or a folder of one node. The latter is a PersistentVolume of
type local, not a hostPath: of those, kubelet gives the folder to the group of the pod (fsGroup), so that nothing has to
run as root for it. Kubelet does not make the folder of a local volume; the pod therefore has it as a hostPath, too,
read-only, which makes it.
*/}}
{{- define "kairos-operator.needStorageClass" -}}
{{- if not (or .persistence.storageClass .persistence.hostPath) }}
{{- $classes := lookup "storage.k8s.io/v1" "StorageClass" "" "" }}
{{- /* Without a cluster to ask, the answer has no items at all. */}}
{{- if hasKey $classes "items" }}
{{- $default := false }}
{{- range $classes.items }}
{{- if eq (dig "metadata" "annotations" "storageclass.kubernetes.io/is-default-class" "" .) "true" }}{{ $default = true }}{{ end }}
{{- end }}
{{- if not (or $default (lookup "apps/v1" "StatefulSet" .root.Release.Namespace .owner)) }}
{{- fail (printf "this cluster has no default StorageClass for the volume of %s: set %s.persistence.storageClass to one of `kubectl get storageclass`, or %s.persistence.hostPath and nodeName to a folder of one node%s" .owner .values .values .otherwise) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kairos-operator.claimTemplates" -}}
{{- if not .hostPath -}}
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClass }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources:
        requests:
          storage: {{ .size | quote }}
{{- end }}
{{- end }}

{{- define "kairos-operator.folderMount" -}}
{{- if .hostPath -}}
# Only so that kubelet makes it.
- name: folder
  mountPath: /folder
  readOnly: true
{{- end }}
{{- end }}

{{- define "kairos-operator.folderVolumes" -}}
{{- if .persistence.hostPath -}}
- name: folder
  hostPath:
    path: {{ .persistence.hostPath | quote }}
    type: DirectoryOrCreate
- name: data
  persistentVolumeClaim:
    claimName: {{ .owner }}
{{- end }}
{{- end }}

{{- define "kairos-operator.folderObjects" -}}
apiVersion: v1
kind: PersistentVolume
metadata:
  name: {{ .owner }}
  labels:
    {{- include "kairos-operator.labels" (dict "root" .root "name" .owner) | nindent 4 }}
spec:
  storageClassName: ''
  accessModes: [ReadWriteOnce]
  # The folder outlives the release.
  persistentVolumeReclaimPolicy: Retain
  capacity:
    storage: {{ .persistence.size | quote }}
  claimRef:
    namespace: {{ .root.Release.Namespace }}
    name: {{ .owner }}
  local:
    path: {{ .persistence.hostPath | quote }}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions:
            - key: kubernetes.io/hostname
              operator: In
              values: [{{ .persistence.nodeName | quote }}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ .owner }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "kairos-operator.labels" (dict "root" .root "name" .owner) | nindent 4 }}
spec:
  storageClassName: ''
  volumeName: {{ .owner }}
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: {{ .persistence.size | quote }}
{{- end }}
