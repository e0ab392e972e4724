{{- /* Names are those of the release, cut so that a suffix fits into 63 characters. */ -}}
{{- define "scim.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "scim.labels" -}}
app.kubernetes.io/name: clickhouse-scim
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "scim.selector" -}}
app.kubernetes.io/name: clickhouse-scim
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* What a pod of ours may do: nothing but its work. */ -}}
{{- define "scim.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "scim.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: config
    mountPath: /etc/clickhouse-scim
    readOnly: true
  {{- if .Values.secretName }}
  - name: secrets
    mountPath: /run/secrets
    readOnly: true
  {{- end }}
{{- end -}}

{{- define "scim.volumes" -}}
- name: config
  configMap:
    name: {{ include "scim.name" . }}
{{- with .Values.secretName }}
- name: secrets
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "scim.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
