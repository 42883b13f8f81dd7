{{/*
Names. Every release has names of its own: "entroute" and "entroute-*" are taken as they are, any
other release gets "-entroute". No two releases of a namespace map to one name.
*/}}
{{- define "entroute.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = .Release.Name -}}
{{- if not (or (eq $name "entroute") (hasPrefix "entroute-" $name)) -}}
{{- $name = printf "%s-entroute" $name -}}
{{- end -}}
{{- end -}}
{{- /* A Service is a DNS label that begins with a letter; a release's name may hold dots. */ -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- $name = printf "r-%s-%s" (replace "." "-" $name) (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- include "entroute.short" (dict "name" $name "length" 52) -}}
{{- end -}}

{{/* A name of at most `length` characters: a longer one ends in a digest of itself. */}}
{{- define "entroute.short" -}}
{{- if le (len .name) (int .length) -}}
{{- .name -}}
{{- else -}}
{{- printf "%s-%s" (.name | trunc (int (sub .length 9)) | trimSuffix "-") (sha256sum .name | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* Name of an object of this release: (dict "root" $ "suffix" "redis"). At most 52 characters, so
that what controllers append fits. */}}
{{- define "entroute.objectName" -}}
{{- include "entroute.short" (dict "name" (printf "%s-%s" (include "entroute.fullname" .root) .suffix) "length" 52) -}}
{{- end -}}

{{/* What tells the pods of one component apart: (dict "root" $ "component" "gateway"), and for tiers
"tier" with its name besides. Selectors cannot be changed: nothing that varies belongs here. */}}
{{- define "entroute.selectorLabels" -}}
app.kubernetes.io/name: entroute
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- with .tier }}
entroute/tier: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* All labels of an object; the arguments of entroute.selectorLabels. */}}
{{- define "entroute.labels" -}}
{{ include "entroute.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: entroute
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods: none that a new version of the chart alone would change, and so restart them. */}}
{{- define "entroute.podLabels" -}}
{{ include "entroute.selectorLabels" . }}
app.kubernetes.io/part-of: entroute
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Reference of an image: (dict "image" .Values.image "tag" .Chart.AppVersion); a digest goes before a
tag. */}}
{{- define "entroute.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .tag) -}}
{{- end -}}
{{- end -}}

{{/* Pod Security "restricted", of a pod: (dict "user" 10001), "group" where it differs. */}}
{{- define "entroute.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ int .user }}
runAsGroup: {{ int (.group | default .user) }}
fsGroup: {{ int (.group | default .user) }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Pod Security "restricted", of a container. */}}
{{- define "entroute.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where a pod may run: (dict "pod" .Values.gateway). */}}
{{- define "entroute.scheduling" -}}
{{- with .pod.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The lines of every pod: secrets of registries, no service links. */}}
{{- define "entroute.podDefaults" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Name of the service account of the gateway. */}}
{{- define "entroute.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "entroute.fullname" .) -}}
{{- end -}}
