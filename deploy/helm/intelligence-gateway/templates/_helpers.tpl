{{- /* Also a Service's name, which has no dots and begins with a letter, as a release's may not. */ -}}
{{- define "gateway.fullname" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if regexMatch "^[0-9]" $release -}}
{{- $release = printf "%s-%s" $name $release -}}
{{- end -}}
{{- if contains $name $release -}}
{{- $release | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Kubernetes adds eleven characters to a StatefulSet's name, for a label of its pods, which has 63 at most. */ -}}
{{- define "gateway.postgresql" -}}
{{- printf "%s-postgresql" (include "gateway.fullname" . | trunc 41 | trimSuffix "-") -}}
{{- end -}}

{{- /* Labels that select the resources of one release. */ -}}
{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "gateway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gateway.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "gateway.configMap" -}}
{{- if .Values.configuration.existingConfigMap -}}
{{- .Values.configuration.existingConfigMap -}}
{{- else if .Values.configuration.file -}}
{{- include "gateway.fullname" . -}}
{{- end -}}
{{- end -}}

{{- /* `*.example.com` of an Ingress is `.example.com` in ALLOWED_HOSTS. */ -}}
{{- define "gateway.allowedHosts" -}}
{{- $service := include "gateway.fullname" . -}}
{{- $names := list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) -}}
{{- $hosts := list -}}
{{- range concat .Values.ingress.hosts .Values.allowedHosts $names -}}
{{- $hosts = append $hosts (trimPrefix "*" .) -}}
{{- end -}}
{{- $hosts | uniq | join "," -}}
{{- end -}}

{{- /* Variables of the gateway and of its commands. Those of `env` win over those of the Secret, so that a server in the
cluster replaces the address of another. A variable in another one's value must precede it. */ -}}
{{- define "gateway.environment" -}}
{{- if .Values.redis.enabled }}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.secrets.environment }}, key: REDIS_PASSWORD}}
- name: REDIS_URL
  value: redis://:$(REDIS_PASSWORD)@{{ include "gateway.fullname" . }}-redis:6379/0
{{- end }}
{{- if .Values.postgresql.enabled }}
- name: POSTGRES_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.secrets.environment }}, key: POSTGRES_PASSWORD}}
- name: DATABASE_URL
  value: postgresql://gateway:$(POSTGRES_PASSWORD)@{{ include "gateway.postgresql" . }}:5432/gateway
{{- end }}
- name: ALLOWED_HOSTS
  value: {{ include "gateway.allowedHosts" . | quote }}
{{- with .Values.trustedProxies }}
- name: TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.staff.host }}
- name: STAFF_HOST
  value: {{ . | quote }}
{{- end }}
{{- range $name, $value := .Values.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "gateway.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* `manage.py migrate`, in the Job and in the init container. */ -}}
{{- define "gateway.migrate" -}}
- name: migrate
  image: {{ include "gateway.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [python, manage.py, migrate, --no-input]
  envFrom:
    - secretRef: {name: {{ .Values.secrets.environment }}}
  env:
    {{- with .Values.secrets.migrations }}
    {{- if $.Values.postgresql.enabled }}
    {{- fail "secrets.migrations: must be empty if postgresql.enabled" }}
    {{- end }}
    - name: DATABASE_URL
      valueFrom: {secretKeyRef: {name: {{ . }}, key: DATABASE_URL}}
    {{- end }}
    {{- include "gateway.environment" . | trim | nindent 4 }}
  resources:
    requests: {cpu: 100m, memory: 192Mi}
    limits: {memory: 512Mi}
  securityContext:
    {{- include "gateway.securityContext" . | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    {{- if .Values.secrets.files }}
    # Variables may name files there.
    - {name: secrets, mountPath: /run/secrets, readOnly: true}
    {{- end }}
{{- end -}}

{{- define "gateway.temporary" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.temporarySize }}}
{{- end -}}

{{- define "gateway.secretFiles" -}}
{{- with .Values.secrets.files -}}
- name: secrets
  secret: {secretName: {{ . }}}
{{- end -}}
{{- end -}}
